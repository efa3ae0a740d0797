"""Operations on tensors that need torch alone."""
