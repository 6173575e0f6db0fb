"""What the host calls. Nothing is kept from one call to the next: each has an instance of its own.

What there is on the machine can only be seen through the host: `tools` finds and runs programs, `files` reads,
`patterns` matches the expressions of the runtime's YAML. What is not granted there is answered with a failure of
the class `denied`. The modules of `wit_world` are made from `wit/` when the component is built.
"""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.exports.detection import Alias, Candidate
from wit_world.exports.environment import BuildPlan, Command, Program_Installation
from wit_world.exports.verification import Check, Outcome_Failed, Outcome_Passed, Outcome_Warned, Verdict
from wit_world.imports import patterns, tools, types

import logic


class Detection(exports.Detection):
    def detect(self, request):
        """Everything that goes by a name that the YAML declares. What turns out to be something else is a candidate
        with its failure, so that people can see why it is not used."""
        candidates, known = [], set()
        for command in request.commands:
            if command.pattern is None:
                continue
            programs = []
            for found in tools.find([command.binary]):
                if isinstance(found.outcome, Err):
                    candidates.append(Candidate(found.path, found.outcome))
                # No two candidates may be the same installation, whatever names it goes by.
                elif (path := found.outcome.value.path()) not in known:
                    known.add(path)
                    programs.append((found.path, found.outcome.value))
            # All at once: one that is slow keeps no other waiting.
            answers = tools.run_all([program for _, program in programs], invocation(command, memoize=True))
            for (path, program), answer in zip(programs, answers):
                try:
                    outcome = Ok(installation(program, version(command, answer)))
                except Err as refused:
                    outcome = refused
                candidates.append(Candidate(path, outcome))
        return candidates

    def aliases(self, versions):
        """Words that can be asked for instead of a version. Each stands for a constraint."""
        return [Alias("latest", "*")]


class Verification(exports.Verification):
    def verify(self, request, program):
        """Proves that an installation works. Printing a version proves little: think of what an action needs, and
        add a check for it."""
        claim = request.installation
        verdict = Verdict(claim.version, [], claim.attributes)
        for number, command in enumerate(request.commands, 1):
            check = Check(f"command-{number}", Outcome_Passed(), "")
            try:
                reported = version(command, Ok(program.run(invocation(command, memoize=False))))
                if reported is not None:
                    verdict.version = reported
                    check = Check("version", Outcome_Passed(), reported.native)
            except Err as refused:
                check.outcome = (Outcome_Warned if command.optional else Outcome_Failed)(refused.value)
            verdict.checks.append(check)
        return verdict


class Environment(exports.Environment):
    def plan(self, request):
        """How to make an environment with an action's dependencies. No step: none is needed.

        A plan is data, steps of `wit_world.exports.environment`: the host shows it, executes it and undoes it."""
        return BuildPlan([], None, [], [])

    def check(self, request):
        """Whether an environment that was built still works; `raise failure(…)` if not."""

    def launch(self, request):
        """How to start an entry point."""
        arguments = logic.start(request.config.interpreter_arguments, request.entry_point, request.arguments)
        return Command(Program_Installation(), arguments, [], [])


def invocation(command, memoize):
    """A command of the YAML, as it is run. What depends on the program alone the host may remember for as long as that is
    the same file."""
    return tools.Invocation(command.arguments, [], b"", None, memoize, [])


def version(command, answer):
    """The version that a command printed, if it ended as the YAML says; None if it has no pattern that tells it."""
    if isinstance(answer, Err):
        raise answer
    completion = answer.value
    match completion.status:
        case tools.ExitStatus_Exited(code) if code == command.exit_code:
            pass
        case tools.ExitStatus_Exited(code):
            raise failure(types.FailureClass_NonzeroExit(code), f"ended with exit code {code}")
        case tools.ExitStatus_Signalled(signal):
            raise failure(types.FailureClass_KilledBySignal(signal), f"was ended by signal {signal}")
        case _:
            raise failure(types.FailureClass_Other("unknown-exit"), "ended in an unknown way")
    if command.pattern is None:
        return None
    output = (completion.stdout + completion.stderr).decode(errors="replace")
    # The groups of the match: the whole of it, then those in parentheses.
    groups = patterns.captures(command.pattern, output)
    if groups is None:
        raise failure(types.FailureClass_PatternMismatch(), f"did not print what `{command.pattern}` expects")
    native = (groups[1] if len(groups) > 1 else None) or ""
    semver = logic.semver(native)
    if semver is None:
        message = f"printed `{native}` where a version was expected"
        raise failure(types.FailureClass_UnparsableOutput(), message)
    return types.Version(semver, native, None)


def installation(program, version):
    path = program.path()
    aliases = [name for name in program.names() if name != path]
    return types.Installation(path, version, program.source(), aliases, [])


def failure(kind, message):
    return Err(types.Failure(kind, message))
