"""Episodes, metrics, the language suite and bag replay."""
