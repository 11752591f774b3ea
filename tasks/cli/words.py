"""The words of a command line: those that a verb does not take are refused, with the cure."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

from tasks.runs.names import UnknownName

NEAR = 0.7  # least likeness of flags: --lr is not like --logger


def _ask_for(
    kind: type[int] | type[float], cure: str
) -> tyro.constructors.PrimitiveConstructorSpec[Any]:
    """Return how a word is read as a number; cure: the message about a word that is not one."""

    def read(words: list[str]) -> float:
        try:
            return kind(words[0])
        except ValueError:
            raise ValueError(f"{words[0]!r} is {cure}") from None

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, (int, kind)),
        str_from_instance=lambda value: [str(value)],
    )


Whole = Annotated[int, _ask_for(int, "not a whole number; write 0, 1, 2, ...")]
Number = Annotated[float, _ask_for(float, "not a number; write 0.5, 1, 2, ...")]
FreeText = Annotated[str, "may be empty"]
RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK:CONFIGURATION")]
# Arguments whose help says what happens without them; "(default: None)" would say less.
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
OptionalText = Annotated[str, tyro.conf.arg(metavar="TEXT", help_behavior_hint="")]


def require_words(
    command: str, verb: Callable[..., Any], words: Sequence[str], cure: str = ""
) -> None:
    """Raise unless ``verb`` takes the words behind its name; it checks their meaning itself.

    command: the words that call the verb, "neuro train". cure: what to do about an unknown flag
    that resembles none of the verb.

    Raises:
        UnknownName: the verb does not have a flag, or takes fewer words.
        ValueError: a flag stands twice, a switch has a value, or a word is empty that is not a
            :data:`FreeText`.
    """
    if {"-h", "--help"} & set(words):
        return
    hints = get_type_hints(verb, include_extras=True)
    hints.pop("return", None)
    places = {n: h for n, h in hints.items() if tyro.conf.Positional in get_args(h)}
    flags = {
        f"--{name.replace('_', '-')}": hint
        for name, hint in hints.items()
        if name not in places
    }
    switches = {flag for flag, hint in flags.items() if hint is bool}
    switches |= {f"--no-{flag[2:]}" for flag in switches}
    takes = ", ".join([*map(_name_place, places.values()), *flags]) or "nothing"
    places_taken, seen, value_follows, flag = [], list[str](), False, ""
    for word in words:
        if value_follows and not word.startswith("--"):
            _require_full(command, flag, flags[flag], word)
            value_follows = _is_variadic(flags[flag])
            continue
        flag, equals, value = word.partition("=")
        value_follows = flag in flags and flag not in switches and not equals
        if not word.startswith("-"):
            places_taken.append(word)
        elif flag not in flags and flag not in switches:
            near = get_close_matches(flag, flags, 1, NEAR)
            hint = (
                f"did you mean {near[0]}?" if near else f"it takes {takes}{cure and '; '}{cure}"
            )
            raise UnknownName(f"{command} has no flag {flag}; {hint}")
        else:
            seen.append(flag.replace("--no-", "--", 1) if flag in switches else flag)
            if equals:
                _require_full(command, flag, flags.get(flag, bool), value)
    once = [flag for flag in seen if tyro.conf.UseAppendAction not in get_args(flags[flag])]
    _require_once(command, once)
    if len(places_taken) > len(places) and not any(map(_is_variadic, places.values())):
        extra = places_taken[len(places)]
        raise UnknownName(f"{command} takes {takes}; {extra!r} is one word too many")
    for word in places_taken:
        _require_full(command, ", ".join(map(_name_place, places.values())), None, word)


def _require_once(command: str, flags: Sequence[str]) -> None:
    """Raise where a flag stands twice: one of the two would have no effect."""
    for flag in flags:
        if flags.count(flag) > 1:
            raise ValueError(f"{command}: {flag} is given twice; leave one of them out")


def _require_full(command: str, where: str, hint: Any, word: str) -> None:
    """Raise where a word is the value of a switch, or is empty but not a :data:`FreeText`."""
    if hint is bool:
        raise ValueError(f"{command}: {where} takes no value; leave ={word} out")
    if not word and hint != FreeText:
        raise ValueError(
            f"{command}: {where} is an empty word; write it out, or look at the variable of "
            "your shell that it came from"
        )


def _name_place(hint: Any) -> str:
    """Return the name of a word without a flag in the help text."""
    return next(str(m.metavar) for m in get_args(hint) if getattr(m, "metavar", None))


def _is_variadic(hint: Any) -> bool:
    """Say whether an argument takes all words that follow it."""
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return get_origin(kind) is tuple and tyro.conf.UseAppendAction not in get_args(hint)
