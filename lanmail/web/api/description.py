"""The API as an OpenAPI document, made from the models of its methods."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

import lanmail
from lanmail.logins import endpoints
from lanmail.settings import Settings
from lanmail.web.api.frame import METHODS, Method

_ERRORS = {"400": "wrong", "401": "who is it?", "403": "not allowed", "404": "not there", "405": "use POST",
           "409": "in the way", "413": "too large", "415": "no JSON", "422": "a rule forbids it", "429": "too fast",
           "503": "not now"}


router = APIRouter()


@router.get("/api/v1/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    """The API as OpenAPI 3.1, for tools."""
    return JSONResponse(document(request.app.state.house.settings()))


def document(settings: Settings) -> dict[str, Any]:
    """OpenAPI 3.1."""
    schemas: dict[str, Any] = {"Error": _error()}
    paths = {f"/api/v1/{one.name}": _path(one, schemas) for one in METHODS.values()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "lanmail", "version": lanmail.__version__,
                 "description": "Every method is POST with a JSON object; methods that only read take GET, too."},
        "servers": [{"url": endpoints.base(settings)}],
        "security": [{"key": []}, {"account": []}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer"}, "account": {"type": "http", "scheme": "basic"}}},
    }


def _path(one: Method, schemas: dict[str, Any]) -> dict[str, Any]:
    noun = one.params.__module__.rpartition(".")[2]  # two nouns may have models of the same name
    schema = one.params.model_json_schema(ref_template=f"#/components/schemas/{noun}.{{model}}")
    schemas.update({f"{noun}.{name}": inner for name, inner in schema.pop("$defs", {}).items()})
    schemas[f"{noun}.{one.params.__name__}"] = schema
    answers = {"200": {"description": "done", "content": {"application/json": {"schema": _good()}}}}
    for status, why in _ERRORS.items():
        reference = {"$ref": "#/components/schemas/Error"}
        answers[status] = {"description": why, "content": {"application/json": {"schema": reference}}}
    body = {"required": bool(schema.get("required")), "content": {"application/json": {
        "schema": {"$ref": f"#/components/schemas/{noun}.{one.params.__name__}"}}}}
    about: dict[str, Any] = {"summary": one.about.partition("\n")[0], "description": one.about,
                             "tags": [one.name.partition(".")[0]], "responses": answers}
    found: dict[str, Any] = {"post": {"operationId": one.name, "requestBody": body, **about}}
    if one.reads:
        found["get"] = {"operationId": f"{one.name}.get", "parameters": _query(schema), **about}
    return found


def _query(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The same parameters as a query, where null is said by leaving out."""
    return [{"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": _said(of)}
            for name, of in schema.get("properties", {}).items()]


def _said(schema: dict[str, Any]) -> dict[str, Any]:
    ways = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    rest = {key: value for key, value in schema.items() if not (key == "default" and value is None)}
    return rest if not ways else {**rest, "anyOf": ways}


def _good() -> dict[str, Any]:
    return {"type": "object", "required": ["ok", "result"], "additionalProperties": False,
            "properties": {"ok": {"const": True}, "result": {}}}


def _error() -> dict[str, Any]:
    text = {"type": "string"}
    return {"type": "object", "required": ["ok", "error"], "additionalProperties": False, "properties": {
        "ok": {"const": False}, "error": {
            "type": "object", "required": ["code", "message"], "additionalProperties": False,
            "properties": {"code": text, "message": text, "field": text}}}}
