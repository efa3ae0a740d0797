"""Operations on tensors that need only torch."""
