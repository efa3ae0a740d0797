from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weakclip.data.read.tag_table import TagTable, read_tag_table

if TYPE_CHECKING:
    from pathlib import Path

DOG_COW = {"a.jpg": {"dog"}, "b.jpg": {"cow"}}
BOTH = {"a.jpg": {"dog"}, "b.jpg": {"dog", "cow"}}


def read(folder: Path, text: str, encoding: str = "utf-8") -> TagTable:
    (folder / "labels.csv").write_bytes(text.encode(encoding))
    return read_tag_table(folder / "labels.csv", ("a.jpg", "b.jpg"))


def test_the_plain_form_is_read_without_a_word(tmp_path: Path) -> None:
    table = read(tmp_path, "File,Labels\na.jpg,dog\nb.jpg,cow\n")
    assert (table.tags, table.classes, table.reading) == (DOG_COW, ("cow", "dog"), "")


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("file;labels\na.jpg;dog\nb.jpg;cow\n", "with semicolons"),
        ("file;score;labels\na.jpg;0,5;dog\nb.jpg;1,0;cow\n", "not used: 'score'"),
        ("file\tlabels\twidth\na.jpg\tdog\t3\nb.jpg\tcow\t4\n", "with tabs"),
        ('"file";"labels"\n"a.jpg";"dog"\n"b.jpg";"cow"\n', "with semicolons"),
        ("id,file,width,height,labels\n1,a.jpg,2,3,dog\n2,b.jpg,2,3,cow\n", "not used: 'id'"),
        (",file,labels\n0,a.jpg,dog\n1,b.jpg,cow\n", "files from 'file', labels from 'labels'"),
        ("Image,Class\na.jpg,dog\nb.jpg,cow\n", "files from 'Image', labels from 'Class'"),
        ("file_name,tags\na.jpg,dog\nb.jpg,cow\n", "labels from 'tags'"),
        ("img,label\na.jpg,dog\nb.jpg,cow\n", "files from 'img', labels from 'label'"),
        ("category;image path\ndog;a.jpg\ncow;b.jpg\n", "files from 'image path'"),
        ("name,classes\na.jpg,dog\nb.jpg,cow\n", "files from 'name'"),
        ("image_id,filename,species\n1,a.jpg,dog\n2,b.jpg,cow\n", "files from 'filename'"),
        ("image,path,label\na.jpg,x/a.jpg,dog\nb.jpg,x/b.jpg,cow\n", "files from 'image'"),
        ("file,name\na.jpg,dog\nb.jpg,cow\n", "labels from 'name'"),
        ("Datei;Klasse\na.jpg;dog\nb.jpg;cow\n", "files from 'Datei', labels from 'Klasse'"),
        ("image,label,class_name\na.jpg,0,dog\nb.jpg,1,cow\n", "labels from 'class_name'"),
        ("a.jpg,dog\nb.jpg,cow\n", "without a header"),
        ("dog;a.jpg\ncow;b.jpg\n", "with semicolons, without a header"),
        ("sep=;\nfile;labels\na.jpg;dog\nb.jpg;cow\n", "with semicolons"),
        ("# by me\n\nimage;class\na.jpg;dog\nb.jpg;cow\n", "files from 'image'"),
        ("Tags;\nof June;\nimage;class\na.jpg;dog\nb.jpg;cow\n", "files from 'image'"),
        ('file; "class"\na.jpg; "dog"\nb.jpg; "cow"\n', "labels from 'class'"),
    ],
)
def test_tables_of_one_meaning_are_read_and_it_is_said_how(
    tmp_path: Path, text: str, reading: str
) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le"):
        table = read(tmp_path, text, encoding)
        assert table.tags == DOG_COW
        assert reading in table.reading
        assert not table.problems


@pytest.mark.parametrize(
    "text",
    [
        "file,dog,cow\na.jpg,1,0\nb.jpg,1,1\n",
        "file;dog;cow\na.jpg;1,0;0,0\nb.jpg;1,0;1,0\n",
        "dog,cow,image\nTrue,False,a.jpg\nTrue,True,b.jpg\n",
        "file,dog,cow\na.jpg,x,\nb.jpg,x,x\n",
        "file,dog,cow\na.jpg,1,-1\nb.jpg,1,1\n",
        "id,file,dog,cow,split,width\n0,a.jpg,1,0,train,640\n1,b.jpg,1.0,1.0,val,480\n",
        "file,train,val,dog,cow\na.jpg,1,0,1,0\nb.jpg,0,1,1,1\n",
        "file,labels\na.jpg,dog\nb.jpg,dog\nb.jpg,cow\n",
        "file,label1,label2\na.jpg,dog,\nb.jpg,dog,cow\n",
        "filename,width,class,xmin\na.jpg,9,dog,1\nb.jpg,9,dog,1\nb.jpg,9,cow,2\n",
        "file;labels\na.jpg;dog\nb.jpg;dog,cow\n",
        "file\tlabels\na.jpg\tdog\nb.jpg\tdog;cow\n",
    ],
)
def test_several_tags_of_an_image_are_read_from_columns_lines_and_cells(
    tmp_path: Path, text: str
) -> None:
    table = read(tmp_path, text)
    assert table.tags == BOTH
    assert table.classes == ("cow", "dog")
    assert not table.problems


def test_a_column_of_0_and_1_that_no_image_has_is_a_class(tmp_path: Path) -> None:
    table = read(tmp_path, "file,dog,owl\na.jpg,1,0\nb.jpg,0,0\n")
    assert table.classes == ("dog", "owl")
    assert table.tags == {"a.jpg": {"dog"}, "b.jpg": set()}


def test_train_is_a_class_unless_other_splits_are_there(tmp_path: Path) -> None:
    table = read(tmp_path, "file,bus,train\na.jpg,1,0\nb.jpg,0,1\n")
    assert table.tags == {"a.jpg": {"bus"}, "b.jpg": {"train"}}


def test_latin_letters_of_windows_are_read(tmp_path: Path) -> None:
    table = read(tmp_path, "file,labels\ncafé.jpg,élan\n", "cp1252")
    assert table.tags == {"café.jpg": {"élan"}}
    assert "Windows-1252" in table.reading


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file labels\na.jpg dog\n", "expected the header 'file,labels', got 'file labels'"),
        ("file,score\na.jpg,0.5\n", "got 'file,score'"),
        ("file,dog,cow\na.jpg,0.9,0.1\n", "got 'file,dog,cow'"),
        ("file,dog,cow\na.jpg,1,0\nb.jpg,2,1\n", r"csv:3: column 'dog' has 0 and 1, and '2'"),
        ("file,category,label\na.jpg,animal,dog\n", "'category' and 'label' could both"),
        ("a.jpg,dog,train\nb.jpg,cow,val\n", "no header.*'file,labels,column3'"),
        ("1,a.jpg,dog\n2,b.jpg,cow\n", "no header.*'column1,file,labels'"),
        ("x,y\n1,2\n", "expected the header"),
        ("file,\na.jpg,dog\n", "expected the header"),
        ('{"file": "a.jpg", "labels": ["dog"]}\n', "is JSON or another list, not a CSV"),
        ("file,labels\n", "no line below the header; write one line per image"),
    ],
)
def test_tables_of_two_meanings_are_refused_with_the_line_to_write(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_a_quote_that_closes_lines_below_swallows_none_in_silence(tmp_path: Path) -> None:
    table = read(tmp_path, 'file,labels\na.jpg,"dog\nb.jpg,cow"\nc.jpg,owl\n')
    (problem,) = table.problems
    assert problem.name == "labels.csv:2"
    assert "closed 1 lines below" in problem.reason
    assert table.tags == {"c.jpg": {"owl"}}


def test_lines_of_another_number_of_cells_are_problems(tmp_path: Path) -> None:
    table = read(tmp_path, "file,labels\na.jpg\nb.jpg,dog,cow\na.jpg,dog,,\n")
    assert [problem.name for problem in table.problems] == ["labels.csv:2", "labels.csv:3"]
    assert table.tags == {"a.jpg": {"dog"}}


@pytest.mark.parametrize("name", ["/data/img/a.jpg", "../img/a.jpg", "/A.JPG"])
def test_a_path_that_leads_out_is_asked_for_below(tmp_path: Path, name: str) -> None:
    (problem,) = read(tmp_path, f"file,labels\n{name},dog\nb.jpg,cow\n").problems
    assert problem.reason.startswith("expected a path below the folder of the images")
    assert problem.reason.endswith("; did you mean 'a.jpg'?")


def test_lines_of_a_table_without_header_are_counted_as_they_stand(tmp_path: Path) -> None:
    table = read(tmp_path, "\n\n/a.jpg,dog\nb.jpg,cow\n")
    assert [problem.name for problem in table.problems] == ["labels.csv:3"]
