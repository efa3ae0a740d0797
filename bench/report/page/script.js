"use strict";
// Sorting of tables and the gallery's controls. Without it every table and picture is there anyway.

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  const numbers = !Number.isNaN(x) && !Number.isNaN(y);
  return numbers ? x - y : a.localeCompare(b);
}

function isNumber(value) {
  return value !== "" && !Number.isNaN(Number(value));
}

function sort(table, header, column) {
  const down = header.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [row.cells[column].dataset.value, row]);
  rows.sort(([a], [b]) => {
    // words such as "reference" stay below the numbers in both directions
    if (isNumber(a) !== isNumber(b)) return isNumber(a) ? -1 : 1;
    return down ? compare(b, a) : compare(a, b);
  });
  body.append(...rows.map(([, row]) => row));
}

function makeSortable(table) {
  table.querySelectorAll("th[data-column]").forEach((header) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(table, header, Number(header.dataset.column)));
  });
}

function showGallery(gallery) {
  const variant = gallery.querySelector("input[name=variant]:checked").value;
  const wanted = gallery.querySelector("select").value;
  gallery.querySelectorAll("[data-variant]").forEach((part) => {
    part.hidden = variant !== "" && part.dataset.variant !== variant;
  });
  gallery.querySelectorAll("details").forEach((part) => { part.open = wanted !== ""; });
  let shown = 0;
  gallery.querySelectorAll("[data-tags]").forEach((image) => {
    image.hidden = wanted !== "" && !image.dataset.tags.split("|").includes(wanted);
    shown += image.hidden ? 0 : 1;
  });
  gallery.querySelector("output").textContent = `${shown} images`;
}

function makeGallery(gallery) {
  const controls = gallery.querySelector(".controls");
  controls.hidden = false;
  controls.addEventListener("change", () => showGallery(gallery));
  showGallery(gallery);
}

function showWidth(box) {
  box.classList.toggle("wide", box.scrollWidth > box.clientWidth + 1);
  box.classList.toggle("end", box.scrollLeft + box.clientWidth >= box.scrollWidth - 1);
}

function showWidths() {
  document.querySelectorAll(".scroll").forEach(showWidth);
}

document.querySelectorAll(".scroll").forEach((box) => {
  box.addEventListener("scroll", () => showWidth(box), {passive: true});
});
window.addEventListener("resize", showWidths);
document.addEventListener("toggle", showWidths, true); // tables in parts that open
showWidths();
document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll(".gallery").forEach(makeGallery);
window.addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((part) => { part.open = true; });
});
