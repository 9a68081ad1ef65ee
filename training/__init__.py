"""How the embedded model `nano` is made: data, clips, training, evaluation and export."""
