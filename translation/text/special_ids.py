"""Ids of the subwords that stand for no text, the same in every vocabulary."""

PAD_ID = 0  # fills up the shorter sentences of a batch
BOS_ID = 1  # begins what the decoder reads
EOS_ID = 2  # ends every source and every target
UNK_ID = 3  # never needed: byte fallback can spell everything
