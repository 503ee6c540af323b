"""The translator's side of training: task, folder, corpora, modes."""
