"""The base of everything a person writes: one frozen definition for the API body, the JSON column and the engine."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Unknown keys are refused by name, so that a mistyped field cannot pass in silence; types are strict."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
