"""A group of subcommands: `--help` stays light, and an unknown name is answered with those there are."""

from typing import Any

from typer.core import TyperGroup


class Group(TyperGroup):
    """What every `typer.Typer` of the command line is made of."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments after the group's own; `--help` of a subcommand is left to the subcommand.

        Typer reads an option that was not given through pydantic, which takes longer to import than all the rest, so
        the group has no `--help` where a subcommand is named.
        """
        names = ctx.help_option_names
        if args and not args[0].startswith("-"):
            ctx.help_option_names = []
        try:
            return super().parse_args(ctx, args)
        finally:
            ctx.help_option_names = names

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The subcommand that `args` begin with; raises `ValueError` that lists the valid ones."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            valid = ", ".join(self.list_commands(ctx))
            raise ValueError(f"{ctx.command_path!r} has no command {args[0]!r}; valid names: {valid}.")
        return super().resolve_command(ctx, args)
