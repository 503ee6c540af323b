"""Answers that are no page: JSON, and errors as TensorFlow Serving has them."""

from starlette.responses import JSONResponse, Response


def json_answer(body):
    """An answer whose JSON is written already."""
    return Response(body, media_type="application/json")


def error_answer(status, message, headers=None):
    """`{"error": MESSAGE}` with a status code.

    >>> error_answer(404, "no such model").body
    b'{"error":"no such model"}'
    """
    return JSONResponse({"error": message}, status, headers)
