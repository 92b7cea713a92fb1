"""Hugging Face PEFT's `TrainableTokens`: a delta for some rows, copied into the whole table."""

import on_torch
import peft
import torch


def make(embedding, old, new):
    """Returns the embedding with its last rows trainable, as PEFT wraps it."""
    model = torch.nn.Sequential(embedding)
    tokens = list(range(old, old + new))
    return peft.get_peft_model(
        model, peft.TrainableTokensConfig(target_modules=["0"], token_indices=tokens)
    )


if __name__ == "__main__":
    version = {"peft": peft.__version__}
    on_torch.main(f"PEFT {peft.__version__} `TrainableTokens`", version, make)
