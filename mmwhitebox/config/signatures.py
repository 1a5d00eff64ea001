"""What a class or function can be called with: names and, as far as they are annotated, kinds of values.

mmengine calls ``type(**rest)`` for every dict of a config, most constructors pass ``**kwargs`` on to their base class,
so the names that a class takes are spread over its bases. They are read here from signatures and, where ``**kwargs``
go, from the source; nothing is called.
"""
import ast
import collections.abc
import functools
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

Parameters = dict[str, inspect.Parameter]
SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)
KINDS = {bool: 'bool', int: 'int', float: 'float', str: 'str', dict: 'dict', type(None): 'None', None: 'None',
         Tensor: 'Tensor'}
NUMBERS = {'int', 'float', 'bool', 'Tensor', 'None'}


class Arguments(NamedTuple):
    """The keyword arguments of a class or function.

    ``known`` has those known by name, ``open_ended`` says whether others are taken as well, ``modules`` has the module
    that declares each.
    """
    known: Parameters
    open_ended: bool = False
    modules: dict[str, str] = {}


@functools.cache
def accepted_arguments(target: Callable) -> Arguments:
    """Keyword arguments of a class (its bases included) or function.

    ``**kwargs`` that only go to ``super().__init__`` stand for the arguments of the next class. Any other use of
    them, or source that cannot be read, makes the answer open-ended.

    Args:
        target (Callable): Class, function or partial.
    """
    owners = target.__mro__ if inspect.isclass(target) else ()
    known: Parameters = {}
    modules: dict[str, str] = {}
    fixed: set[str] = set()  # given to the next class by this one, so not to be given again
    for owner in owners or (target, ):
        init = vars(owner).get('__init__') if owners else target
        if init is None:
            continue
        if owner in (object, nn.Module):
            break
        try:
            parameters = inspect.signature(init).parameters
        except (ValueError, TypeError):
            return Arguments(known, True, modules)
        for name, parameter in list(parameters.items())[1 if owners else 0:]:  # without self
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name not in fixed:
                known.setdefault(name, parameter.replace(annotation=_evaluated(parameter.annotation, init)))
                modules.setdefault(name, getattr(owner, '__module__', None) or '')
        rest = next((name for name, value in parameters.items() if value.kind is value.VAR_KEYWORD), None)
        if rest is None:
            break
        use = _use_of_keywords(init, rest) if owners else None
        if use is None:
            return Arguments(known, True, modules)
        taken, passed = use
        for name in taken:
            known.setdefault(name, inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY))
        fixed |= passed - set(known)
    return Arguments(known, False, modules)


def mentions(target: Callable, name: str) -> bool:
    """Whether the modules of a class and of its bases contain a name, as text or attribute, and so may well read it.

    torch's modules are left out, and ours: they read nothing but their own arguments.
    """
    named = re.compile(rf"(?P<quote>['\"]){re.escape(str(name))}(?P=quote)|\.{re.escape(str(name))}\b")
    return any(named.search(_source(owner.__module__)) for owner in getattr(target, '__mro__', (target, ))
               if owner.__module__.partition('.')[0] not in ('builtins', 'abc', 'torch', 'mmwhitebox'))


def wrong_kind(parameter: inspect.Parameter, value: Any, strict: bool) -> str | None:
    """What an annotated parameter takes, when the value is of another kind; None when it fits or is unknown.

    Annotations of other packages are not always kept, so theirs object only to a text or dict where a number is
    wanted; ``strict`` objects to every other kind.

    Args:
        parameter (inspect.Parameter): From :func:`accepted_arguments`.
        value (Any): Value in a config.
        strict (bool): Whether the annotation can be relied on.
    """
    kinds, kind = annotated_kinds(parameter.annotation), kind_of(value)
    fits = kind in kinds or (kind == 'int' and 'float' in kinds) or (kind == 'bool' and 'int' in kinds)
    if not kinds or kind is None or fits or value is parameter.default:
        return None
    return ' or '.join(sorted(kinds)) if strict or (kinds <= NUMBERS and kind in ('str', 'dict')) else None


def kind_of(value: Any) -> str | None:
    """'None', 'bool', 'int', 'float', 'str', 'dict' or 'list' (tuples too); None for anything else."""
    kinds = ((type(None), 'None'), (bool, 'bool'), ((int, np.integer), 'int'), ((float, np.floating), 'float'),
             (str, 'str'), (collections.abc.Mapping, 'dict'), ((list, tuple), 'list'))
    return next((name for types_, name in kinds if isinstance(value, types_)), None)


def annotated_kinds(annotation: Any) -> set[str]:
    """The kinds (see :func:`kind_of`) that an annotation names; empty when it names anything else as well."""
    origin = typing.get_origin(annotation) or annotation
    if origin in (typing.Union, types.UnionType):
        members = [annotated_kinds(member) for member in typing.get_args(annotation)]
        return set().union(*members) if all(members) else set()
    if origin in SEQUENCES:
        return {'list'}
    try:
        return {KINDS[origin]} if origin in KINDS else set()
    except TypeError:  # not hashable
        return set()


def _evaluated(annotation: Any, function: Callable) -> Any:
    """An annotation; one that is text is read as far as its names are known where the function stands."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(inspect.unwrap(function), '__globals__', {}))  # code of a package, no config's
    except Exception:
        return inspect.Parameter.empty


@functools.cache
def _source(module: str) -> str:
    try:
        return inspect.getsource(sys.modules[module])
    except (OSError, TypeError, KeyError):
        return ''


def _use_of_keywords(init: Callable, rest: str) -> tuple[set[str], set[str]] | None:
    """Follow ``**rest`` through the source of a constructor.

    Returns:
        tuple[set, set] | None: Names taken out of it (``rest.pop('x')``, ``rest['x']``, ``'x' in rest``), and names
            that the call of ``super().__init__`` gives beside it; None when it is not passed to that call, or is used
            in another way.
    """
    try:
        nodes = list(ast.walk(ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(init))))))
    except (OSError, TypeError, SyntaxError):
        return None

    def uses(tree: ast.AST) -> int:
        return sum(isinstance(node, ast.Name) and node.id == rest for node in ast.walk(tree))

    left = sum(isinstance(node, ast.Name) and node.id == rest for node in nodes)
    taken: set[str] = set()
    passed: set[str] | None = None
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id='super')), attr='__init__')):
                inside = sum(uses(keyword.value) for keyword in node.keywords if keyword.arg is None)
                if inside:
                    left -= inside
                    passed = (passed or set()) | {keyword.arg for keyword in node.keywords if keyword.arg is not None}
            case (ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr='pop' | 'get' | 'setdefault'),
                           args=[ast.Constant(value=str(key)), *_])
                  | ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key)))
                  | ast.Compare(left=ast.Constant(value=str(key)), comparators=[ast.Name(id=name)])) if name == rest:
                left -= 1
                taken.add(key)
            case ast.Assign(targets=[ast.Name(id=name)],
                            value=ast.Dict(keys=[*_, None], values=[*_, ast.Name(id=extended)])) \
                    if name == extended == rest:
                left -= 2  # rest = {..., **rest}
    return None if passed is None or left else (taken, passed)
