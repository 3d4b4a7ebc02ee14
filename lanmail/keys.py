"""How a section of conf/ is declared: the model all sections share, and a key with its default and its sentence."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """What all sections have in common: unknown keys are refused, types are not guessed, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True,
                              serialize_by_alias=True)


def key(default: Any, sentence: str, **limits: Any) -> Any:
    """A key: its default (`...` = must be given), its sentence, and limits such as `ge=0`.

    `alias` is how it is written where Python keeps the word for itself (from).
    """
    return Field(default, description=sentence, **limits)


def port(default: int, sentence: str) -> Any:
    """A key that is a port; 0 turns the listener off, server.port_offset is added to any other."""
    return key(default, sentence, ge=0, le=65535)


def section(model: Any) -> Any:
    """A section within another."""
    return Field(default_factory=model)
