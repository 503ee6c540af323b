"""The JSON of TensorFlow Serving's REST interface, to arrays and back.

https://www.tensorflow.org/tfx/serving/api_rest says what a client sends. What
is wrong with a request is said in the words of its `json_tensor.cc`.
"""

import base64
import binascii
import dataclasses
import json

import numpy as np

from server.errors import bad_request

DEFAULT_SIGNATURE = "serving_default"
_BYTES_SUFFIX = "_bytes"  # of outputs that are always in base64
_TYPES = {
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
    type(None): "Null",
}
_DTYPES = {"float32": "float", "float64": "double"}  # as C++ calls them


@dataclasses.dataclass(frozen=True)
class Request:
    """What a client asks for.

    Attributes:
        signature: `Signature`.
        columns: dict of arrays by names of inputs; strings are objects.
        in_rows: bool. Whether the answer has a row for each example.
    """

    signature: object
    columns: dict
    in_rows: bool


def parse_request(body, signature_named):
    """Reads the body of a request.

    Args:
        body: bytes.
        signature_named: Function of a name that gives a `Signature`, and
            raises `ServingError` if there is none.

    Returns:
        `Request`.

    Raises:
        ServingError: 400, if it is no JSON or does not suit the signature.
    """
    asked = _parse_json(body)
    name = asked.get("signature_name", "") or DEFAULT_SIGNATURE
    if not isinstance(name, str):
        raise bad_request(
            f"JSON Value: {_shown(asked)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    signature = signature_named(name)
    if "instances" in asked and "inputs" in asked:
        raise bad_request(
            f"JSON Value: {_shown(asked)} Not formatted correctly expecting "
            "only one of 'inputs' or 'instances' keys to exist "
        )
    if "instances" in asked:
        columns = _from_rows(asked["instances"], signature, asked)
        return Request(signature, signature.filled(columns), in_rows=True)
    if "inputs" in asked:
        columns = _from_columns(asked["inputs"], signature)
        return Request(signature, signature.filled(columns), in_rows=False)
    raise bad_request("Missing 'inputs' or 'instances' key")


def _parse_json(body):
    if not body:
        raise bad_request("JSON Parse error: The document is empty")
    try:
        asked = json.loads(body)
    # Too deep for the parser, or a number of thousands of digits.
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "Invalid value.")
        place = getattr(error, "pos", 0)
        raise bad_request(
            f"JSON Parse error: {reason} at offset: {place}"
        ) from None
    if not isinstance(asked, dict):
        raise bad_request(f"JSON Value: {_shown(asked)} Is not object")
    return asked


def _from_rows(rows, signature, asked):
    """Columns of `instances`: plain values, or an object for each row."""
    if not isinstance(rows, list):
        raise bad_request(
            f"JSON Value: {_shown(asked)} Excepting 'instances' to be an "
            "list/array"
        )
    if not rows:
        raise bad_request(
            f"JSON Value: {_shown(asked)} No values in 'instances' array"
        )
    names, needed = set(signature.inputs), signature.needed
    if not _is_named(rows[0]):
        if len(needed) != 1:
            raise bad_request(
                "instances is a plain list, but expecting list of objects as "
                "multiple input tensors required as per tensorinfo_map"
            )
        for place, row in enumerate(rows):
            if _is_named(row):
                raise bad_request(
                    "Expecting value/list but got object at item "
                    f"{place} of input list"
                )
        (name,) = needed
        return {name: _array(rows, signature.inputs[name])}
    for place, row in enumerate(rows):
        if not _is_named(row):
            raise bad_request(
                f"Expecting object but got list at item {place} of input list"
            )
        if not names.issuperset(row) or not set(row).issuperset(needed):
            raise bad_request(
                f"Failed to process element: {place} of 'instances' list. "
                f"JSON object: {_shown(row)} keys must be equal to: "
                f"{','.join(sorted(names))}"
            )
    return {
        name: _column(rows, tensor)
        for name, tensor in signature.inputs.items()
        if any(name in row for row in rows)
    }


def _column(rows, tensor):
    """An input of named rows, with its default where a row has none."""
    has_it = [tensor.name in row for row in rows]
    given = [row[tensor.name] for row in rows if tensor.name in row]
    given = _array(given, tensor)
    if all(has_it):
        return given
    if given.shape[1:] != tensor.default.shape[1:]:
        raise bad_request(
            f"Tensor {tensor.name} must be in every row, or have the shape of "
            "its default value"
        )
    column = np.repeat(tensor.default[:1], len(rows), axis=0)
    column[has_it] = given
    return column


def _from_columns(columns, signature):
    """Columns of `inputs`: an object, or the values of the only input."""
    needed = signature.needed
    if not _is_named(columns):
        if len(needed) != 1:
            raise bad_request(
                "inputs is a plain value/list, but expecting an object as "
                "multiple input tensors required as per tensorinfo_map"
            )
        columns = {needed[0]: columns}
    for name in needed:
        if name not in columns:
            raise bad_request(
                f"Missing named input: {name} in 'inputs' object."
            )
    return {
        name: _array(columns[name], tensor)
        for name, tensor in signature.inputs.items()
        if name in columns
    }


def _is_named(value):
    """An object of named values, and not a string in base64."""
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value):
    return value.keys() == {"b64"} and isinstance(value["b64"], str)


def _array(value, tensor):
    """A dense array of nested lists, as an input takes it."""
    shape = _shape(value)
    if 0 in shape:  # nothing in it says how deep it is
        shape += (0,) * (len(tensor.shape) - len(shape))
    if len(shape) != len(tensor.shape) or any(
        wanted not in (None, size)
        for wanted, size in zip(tensor.shape, shape, strict=True)
    ):
        wanted = ",".join("-1" if n is None else str(n) for n in tensor.shape)
        raise bad_request(
            f"Tensor {tensor.name} expects shape [{wanted}]. Received: "
            f"[{','.join(map(str, shape))}]"
        )
    flat = []
    _fill(value, shape, tensor.dtype, flat, 0)
    is_text = tensor.dtype == "string"
    array = np.empty(len(flat), object if is_text else tensor.dtype)
    try:
        with np.errstate(over="ignore"):  # beyond float32 is infinite
            array[:] = flat
    except OverflowError:
        raise bad_request(
            f"A value of {tensor.name} is outside of {tensor.dtype}"
        ) from None
    return array.reshape(shape)


def _shape(value):
    shape = ()
    while isinstance(value, list):
        shape += (len(value),)
        if not value:
            break
        value = value[0]
    return shape


def _fill(value, shape, dtype, flat, level):
    if isinstance(value, list):
        if level >= len(shape):
            raise bad_request(
                f"Encountered list at unexpected level: {level} expected < "
                f"{len(shape)}"
            )
        if len(value) != shape[level]:
            raise bad_request(
                f"Encountered list at unexpected size: {len(value)} at level: "
                f"{level} expected size: {shape[level]}"
            )
        for item in value:
            _fill(item, shape, dtype, flat, level + 1)
        return
    if level != len(shape):
        raise bad_request(
            f"JSON Value: {_shown(value)} found at incorrect level: "
            f"{level + 1} in the JSON DOM. Expected at level: {len(shape)}"
        )
    flat.append(_scalar(value, dtype))


def _scalar(value, dtype):
    if dtype == "string":
        if isinstance(value, str):
            # Half a surrogate pair is no text: bytes that are not UTF-8.
            return value.encode("utf-8", "surrogatepass")
        if isinstance(value, dict) and _is_base64(value):
            return _from_base64(value["b64"])
    elif dtype == "bool":
        if isinstance(value, bool):
            return value
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    elif isinstance(value, float) and "float" in dtype:
        return value
    kind = str(value) if isinstance(value, bool) else _TYPES[type(value)]
    raise bad_request(
        f"JSON Value: {_shown(value)} Type: {kind} is not of expected type: "
        f"{_DTYPES.get(dtype, dtype)}"
    )


def _from_base64(text):
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise bad_request("Unable to base64 decode") from None


def _shown(value):
    """The beginning of a value as JSON, for a message."""
    try:
        text = json.dumps(value)
    except RecursionError:  # nested nearly too deep to be parsed
        return "..."
    return text if len(text) <= 200 else text[:197] + "..."


def format_answer(outputs, in_rows):
    """Writes arrays as the body of an answer.

    Args:
        outputs: dict of arrays by names; strings are bytes in object arrays.
        in_rows: bool. `predictions`, with an entry for each row, or else
            `outputs`, with one for each array. A name is left out where
            there is only one output.

    Returns:
        bytes.

    Raises:
        ServingError: if rows are asked for, and arrays differ in theirs.

    Example:

    >>> format_answer({"outputs": np.array([b"ein Hund"], object)}, True)
    b'{"predictions": ["ein Hund"]}'
    """
    values = {name: _values(name, x) for name, x in outputs.items()}
    if not in_rows:
        answer = {"outputs": _without_name(values)}
    else:
        if any(x.ndim == 0 for x in outputs.values()) or (
            len({len(x) for x in outputs.values()}) > 1
        ):
            raise bad_request(
                "Outputs of this signature have no common number of rows. "
                "Ask for columns: use 'inputs' in place of 'instances'."
            )
        names = list(values)
        rows = zip(*values.values(), strict=True)
        answer = {
            "predictions": [
                _without_name(dict(zip(names, row, strict=True)))
                for row in rows
            ]
        }
    return json.dumps(answer, ensure_ascii=False).encode()


def _without_name(values):
    if len(values) > 1:
        return values
    (value,) = values.values()
    return value


def _values(name, array):
    """Nested lists of an array's values as JSON has them."""
    if array.dtype == object:
        as_text = not name.endswith(_BYTES_SUFFIX)
        flat = np.empty(array.size, object)
        flat[:] = [_text(x, as_text) for x in array.ravel()]
        return flat.reshape(array.shape).tolist()
    if array.dtype == np.float32:
        # By way of text: 0.1 and not 0.10000000149011612.
        return array.astype(str).astype(np.float64).tolist()
    return array.tolist()


def _text(value, as_text):
    if as_text:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(value).decode()}
