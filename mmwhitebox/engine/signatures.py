"""What a class or function can be called with: names and, as far as they are annotated, kinds of values.

mmengine calls ``type(**rest)`` for every dict of a config, most constructors pass ``**kwargs`` on to their base class,
so the names that a class takes are spread over its bases. They are read here from signatures and, where ``**kwargs``
go, from the source; nothing is called.
"""
import ast
import collections.abc
import functools
import inspect
import textwrap
import types
import typing
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

import numpy as np
from torch import Tensor, nn

Parameters = Dict[str, inspect.Parameter]
SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)


class Arguments(NamedTuple):
    """The keyword arguments of a class or function.

    ``known`` has those known by name, ``open_ended`` says whether others are taken as well, ``modules`` has the module
    that declares each.
    """
    known: Parameters
    open_ended: bool
    modules: Dict[str, str]


@functools.cache
def accepted_arguments(target: Callable) -> Arguments:
    """Keyword arguments of a class (its bases included) or function.

    ``**kwargs`` that only go to ``super().__init__`` stand for the arguments of the next class. Any other use of
    them, or source that cannot be read, makes the answer open-ended.

    Args:
        target (Callable): Class, function or partial.
    """
    if not inspect.isclass(target):
        parameters = _parameters(target)
        if parameters is None:
            return Arguments({}, True, {})
        return Arguments(_named(parameters), _keyword_rest(parameters) is not None, {})
    accepted: Parameters = {}
    modules: Dict[str, str] = {}
    fixed: Set[str] = set()  # given to the next class by this one, so not to be given again
    for owner in target.__mro__:
        if '__init__' not in vars(owner):
            continue
        if owner in (object, nn.Module):
            break
        init = vars(owner)['__init__']
        parameters = _parameters(init)
        if parameters is None:
            return Arguments(accepted, True, modules)
        own = dict(list(_named(parameters).items())[1:])  # without self
        modules = {**dict.fromkeys(own, owner.__module__), **modules}
        accepted = {**{name: value for name, value in own.items() if name not in fixed}, **accepted}
        rest = _keyword_rest(parameters)
        if rest is None:
            break
        use = _use_of_keywords(init, rest)
        if use is None:
            return Arguments(accepted, True, modules)
        named, passed = use
        accepted = {**{name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in named}, **accepted}
        fixed |= passed - set(accepted)
    return Arguments(accepted, False, modules)


def wrong_kind(parameter: inspect.Parameter, value: Any, strict: bool) -> Optional[str]:
    """What an annotated parameter takes, when the value is of another kind; None when it fits or is unknown.

    Annotations of other packages are not always kept, so theirs object only to a text, dict or list where a number
    is wanted; ``strict`` objects to every other kind.

    Args:
        parameter (inspect.Parameter): From :func:`accepted_arguments`.
        value (Any): Value in a config.
        strict (bool): Whether the annotation can be relied on.
    """
    kinds = annotated_kinds(parameter.annotation)
    if not kinds or value is parameter.default:
        return None
    kind = kind_of(value)
    if kind is None or kind in kinds or (kind == 'int' and 'float' in kinds) or (kind == 'bool' and 'int' in kinds):
        return None
    numbers_only = kinds <= {'int', 'float', 'bool', 'Tensor', 'None'}
    if strict or (numbers_only and kind in ('str', 'dict', 'list')):
        return ' or '.join(sorted(kinds))
    return None


def kind_of(value: Any) -> Optional[str]:
    """'None', 'bool', 'int', 'float', 'str', 'dict' or 'list' (tuples too); None for anything else."""
    if value is None:
        return 'None'
    kinds = ((bool, 'bool'), ((int, np.integer), 'int'), ((float, np.floating), 'float'), (str, 'str'),
             (collections.abc.Mapping, 'dict'), ((list, tuple), 'list'))
    return next((name for types_, name in kinds if isinstance(value, types_)), None)


def annotated_kinds(annotation: Any) -> Set[str]:
    """The kinds (see :func:`kind_of`) that an annotation names; empty when it names anything else as well."""
    simple = {bool: 'bool', int: 'int', float: 'float', str: 'str', dict: 'dict', type(None): 'None', None: 'None',
              Tensor: 'Tensor'}
    origin = typing.get_origin(annotation) or annotation
    if origin in (typing.Union, types.UnionType):
        members = [annotated_kinds(member) for member in typing.get_args(annotation)]
        return set().union(*members) if all(members) else set()
    if origin in SEQUENCES:
        return {'list'}
    try:
        return {simple[origin]} if origin in simple else set()
    except TypeError:  # not hashable
        return set()


def _parameters(function: Callable) -> Optional[Parameters]:
    """The parameters of a function; annotations that are text are read as far as their names are known there."""
    try:
        parameters = inspect.signature(function).parameters
    except (ValueError, TypeError):
        return None
    names = getattr(inspect.unwrap(function), '__globals__', {})
    resolved: Parameters = {}
    for name, parameter in parameters.items():
        if isinstance(parameter.annotation, str):
            try:
                annotation = eval(parameter.annotation, names)  # code of the package itself, never of a config
            except Exception:
                annotation = inspect.Parameter.empty
            parameter = parameter.replace(annotation=annotation)
        resolved[name] = parameter
    return resolved


def _named(parameters: Parameters) -> Parameters:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: value for name, value in parameters.items() if value.kind in kinds}


def _keyword_rest(parameters: Parameters) -> Optional[str]:
    """Name of the ``**kwargs``, if there are any."""
    return next((name for name, value in parameters.items() if value.kind is inspect.Parameter.VAR_KEYWORD), None)


def _use_of_keywords(init: Callable, rest: str) -> Optional[Tuple[Set[str], Set[str]]]:
    """Follow ``**rest`` through the source of a constructor.

    Returns:
        tuple[set, set] | None: Names taken out of it, and names that the call of ``super().__init__`` gives beside
            it; None when it is not passed to that call, or is used in another way.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(init))))
    except (OSError, TypeError, SyntaxError):
        return None
    uses = sum(isinstance(node, ast.Name) and node.id == rest for node in ast.walk(tree))
    named: Set[str] = set()
    passed: Set[str] = set()
    forwarded = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_super_init(node):
            inside = [k for k in node.keywords if k.arg is None and _mentions(k.value, rest)]
            if inside:
                forwarded = True
                uses -= sum(_mentions(k.value, rest) for k in inside)
                passed |= {k.arg for k in node.keywords if k.arg is not None}
        if isinstance(node, ast.Assign) and _is_extension(node, rest):
            uses -= 2
        name = _taken_out(node, rest)
        if name is not None:
            uses -= 1
            named.add(name)
    return (named, passed) if forwarded and uses == 0 else None


def _is_super_init(call: ast.Call) -> bool:
    function = call.func
    return (isinstance(function, ast.Attribute) and function.attr == '__init__'
            and isinstance(function.value, ast.Call) and getattr(function.value.func, 'id', None) == 'super')


def _is_extension(node: ast.Assign, rest: str) -> bool:
    """Whether it is ``rest = {..., **rest}``."""
    return (_is_name(node.targets[0], rest) and isinstance(node.value, ast.Dict)
            and [key for key, value in zip(node.value.keys, node.value.values) if _mentions(value, rest)] == [None])


def _mentions(tree: ast.AST, name: str) -> int:
    return sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))


def _taken_out(node: ast.AST, rest: str) -> Optional[str]:
    """The name in ``rest.pop('name')``, ``rest.get('name')``, ``rest.setdefault('name')``, ``rest['name']``,
    ``'name' in rest``."""
    candidate: List[ast.AST] = []
    if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args
            and node.func.attr in ('pop', 'get', 'setdefault') and _is_name(node.func.value, rest)):
        candidate = node.args[:1]
    elif isinstance(node, ast.Subscript) and _is_name(node.value, rest):
        candidate = [node.slice]
    elif isinstance(node, ast.Compare) and len(node.comparators) == 1 and _is_name(node.comparators[0], rest):
        candidate = [node.left]
    return next((c.value for c in candidate if isinstance(c, ast.Constant) and isinstance(c.value, str)), None)


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
