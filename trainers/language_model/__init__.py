"""The language model's side of training: task, folder, corpora, modes."""
