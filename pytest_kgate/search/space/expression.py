"""Constraints: expressions in Python's words over knobs and facts of the device, of a few harmless kinds only.

A constraint is a line of a test file, or of a file that another program wrote. It is never handed to `eval`: each node
of its syntax tree is one of a short list, and neither its text nor its numbers can grow without bound.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.search.space.configuration import Value

_Values = Mapping[str, Value]
_Computed = Callable[[_Values], Any]

_LONGEST = 2000
"""Characters of a constraint."""
_MOST_NODES = 400
"""Of its syntax tree, and so of its depth."""
_MOST_BITS = 256
"""Of a whole number on the way: beyond the product of any sizes, and computed at once."""

_ALLOWED = (
    "A constraint is made of knobs, facts of the device, numbers and text, with + - * / // % **, comparisons, `in` a "
    "list, and, or, not, `x if condition else y`, min, max and abs."
)

_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_SIGNS: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, several: value in several,
    ast.NotIn: lambda value, several: value not in several,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs}


class Expression:
    """One constraint, understood; asked with the values of all its names."""

    def __init__(self, text: str) -> None:
        """Raises `UsageError` where it is no expression of the kinds that are allowed."""
        self.text = text
        self._names: dict[str, None] = {}
        too_long = UsageError(f"The constraint {text[:40]!r}... is too long.", "Split it into several.")
        if len(text) > _LONGEST:
            raise too_long
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError) as error:  # ValueError: a null byte, or a number of thousands of digits
            raise UsageError(f"The constraint {text!r} can't be read: {error.args[0]}.", _ALLOWED) from None
        except (RecursionError, MemoryError):
            raise too_long from None
        if sum(1 for _ in ast.walk(tree)) > _MOST_NODES:
            raise too_long
        self._compute = self._node(tree.body)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of knobs and facts, in the order in which they first appear."""
        return tuple(self._names)

    def holds(self, values: _Values) -> bool:
        """Whether it is true of these values, which have all its names.

        Raises `UsageError` where it can't be computed: a division by zero, an order of text and numbers.
        """
        try:
            return bool(self._compute(values))
        except (TypeError, ArithmeticError) as error:
            of = ", ".join(f"{name}={values[name]!r}" for name in self._names)
            raise UsageError(
                f"The constraint {self.text!r} can't be computed for {of}: {error.args[-1]}.",
                "Write it so that it has a value for all values of its knobs, as in `N == 0 or M % N == 0`.",
            ) from None

    def _node(self, node: ast.expr) -> _Computed:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as constant):
                return lambda _: constant
            case ast.Name(id=name):
                self._names[name] = None
                return operator.itemgetter(name)
            case ast.BoolOp(op=op, values=parts):
                return _first(isinstance(op, ast.Or), [self._node(part) for part in parts])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._node(operand)
                return lambda values: not inner(values)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
                sign, inner = _SIGNS[type(op)], self._node(operand)
                return lambda values: sign(_number(inner(values)))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC or isinstance(op, ast.Pow):
                compute, one, other = _ARITHMETIC.get(type(op), _power), self._node(left), self._node(right)
                return lambda values: _number(compute(_number(one(values)), _number(other(values))))
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._comparison(left, ops, others)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                condition, then, otherwise = self._node(test), self._node(body), self._node(orelse)
                return lambda values: then(values) if condition(values) else otherwise(values)
            case ast.Call(func=ast.Name(id=name), args=[_, *_] as arguments, keywords=[]) if name in _FUNCTIONS:
                return self._call(name, arguments)
        raise UsageError(f"The constraint {self.text!r} has {_part(node)} in it, which none may have.", _ALLOWED)

    def _comparison(self, left: ast.expr, ops: list[ast.cmpop], others: list[ast.expr]) -> _Computed:
        first, rest = self._node(left), []
        for op, other in zip(ops, others, strict=True):
            if type(op) not in _COMPARISONS:
                raise UsageError(f"The constraint {self.text!r} compares with `is`.", "Use == or != there.")
            if isinstance(op, ast.In | ast.NotIn):
                if not isinstance(other, ast.List | ast.Tuple | ast.Set):
                    raise UsageError(
                        f"The constraint {self.text!r} has {_part(other)} behind `in`.", "Write a list: X in [1, 2]."
                    )
                rest.append((_COMPARISONS[type(op)], self._several(other.elts)))
            else:
                rest.append((_COMPARISONS[type(op)], self._node(other)))

        def holds(values: _Values) -> bool:
            one = first(values)
            for compare, of in rest:
                other = of(values)
                if not compare(one, other):
                    return False
                one = other
            return True

        return holds

    def _several(self, nodes: list[ast.expr]) -> _Computed:
        each = [self._node(node) for node in nodes]
        return lambda values: [one(values) for one in each]

    def _call(self, name: str, nodes: list[ast.expr]) -> _Computed:
        function, several = _FUNCTIONS[name], self._several(nodes)
        if (name == "abs") != (len(nodes) == 1):
            raise UsageError(
                f"The constraint {self.text!r} calls {name} with {len(nodes)} arguments.",
                "abs takes one, min and max take two or more.",
            )
        return lambda values: function(*(_number(one) for one in several(values)))


def _first(truth: bool, parts: list[_Computed]) -> _Computed:
    """The first part that is true, or false, as `or` and `and` give it: the last one, where none is."""

    def compute(values: _Values) -> Any:
        found: Any = None
        for part in parts:
            found = part(values)
            if bool(found) == truth:
                break
        return found

    return compute


def _number(value: Any) -> Any:
    """The value, if it is a number of a sane size: text is only compared, and no number grows without bound."""
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise OverflowError("a number grows beyond all sizes")
    return value


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * base.bit_length() > 2 * _MOST_BITS:
        raise OverflowError("a number grows beyond all sizes")
    power = base**exponent
    if isinstance(power, complex):
        raise TypeError(f"{base} ** {exponent} is no real number")
    return power


def _part(node: ast.expr) -> str:
    text = ast.unparse(node)
    return f"`{text if len(text) <= 40 else text[:37] + '...'}`"
