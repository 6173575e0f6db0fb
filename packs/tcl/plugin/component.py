"""What the host calls: `wit_world` and the other modules that are not here are made from the contract when it is built."""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.exports.detection import Alias, Candidate
from wit_world.exports.environment import BuildPlan, Command, Program_Installation
from wit_world.exports.verification import Check, Outcome_Failed, Outcome_Passed, Outcome_Warned, Verdict
from wit_world.imports import tools, types

import logic

# Names that interpreters go by; which of them are looked for is for the grants to say.
NAMES = ["tclsh", "tclsh[0-9].[0-9]"]


class Detection(exports.Detection):
    def detect(self, request):
        candidates, programs = [], {}
        for found in tools.find(NAMES):
            if isinstance(found.outcome, Err):
                candidates.append(Candidate(found.path, found.outcome))
            else:
                # The same program may go by several names.
                programs.setdefault(found.outcome.value.path(), (found.path, found.outcome.value))
        # All at once: one that is slow keeps no other waiting.
        answers = tools.run_all([program for _, program in programs.values()], probe(memoize=True))
        for (path, program), answer in zip(programs.values(), answers):
            try:
                outcome = Ok(installation(program, facts_of(answer)))
            except Err as refused:
                outcome = refused
            candidates.append(Candidate(path, outcome))
        return candidates

    def aliases(self, versions):
        return [Alias("latest", "*")]


class Verification(exports.Verification):
    def verify(self, request, program):
        """Asks again, and compares with what was claimed."""
        claim = request.installation
        facts = facts_of(Ok(program.run(probe(memoize=False))))
        version = version_of(facts)
        checks = [
            equal("path", types.FailureClass_ShimUnresolved(), claim.path, facts.get("executable")),
            equal("version", types.FailureClass_VersionMismatch(), claim.version.semver, version.semver),
            equal("arithmetic", types.FailureClass_UnparsableOutput(), "42", facts.get("sum")),
            capability("json", facts.get("json"), "parameters can't be read as JSON: install Tcllib"),
        ]
        return Verdict(version, checks, attributes(facts))


class Environment(exports.Environment):
    def plan(self, request):
        """None is needed: Tcl has packages where it is installed, and no file that names them."""
        return BuildPlan([], None, [], [])

    def check(self, request):
        """There is none that could be broken."""

    def launch(self, request):
        version, interpreter = request.installation.version.semver, request.config.interpreter_arguments
        arguments = logic.start(version, interpreter, request.entry_point, request.arguments)
        return Command(Program_Installation(), arguments, [], [])


def probe(memoize):
    """What depends on the program alone the host may remember for as long as that is the same file."""
    return tools.Invocation([], [], logic.PROBE.encode(), None, memoize, [])


def facts_of(answer):
    """What a program said about itself."""
    if isinstance(answer, Err):
        raise answer
    match answer.value.status:
        case tools.ExitStatus_Exited(0):
            pass
        case tools.ExitStatus_Exited(code):
            raise failure(types.FailureClass_NonzeroExit(code), f"ended with exit code {code}")
        case tools.ExitStatus_Signalled(signal):
            raise failure(types.FailureClass_KilledBySignal(signal), f"was ended by signal {signal}")
        case _:
            raise failure(types.FailureClass_Other("unknown-exit"), "ended in an unknown way")
    facts = logic.facts(answer.value.stdout.decode(errors="replace"))
    if facts is None:
        raise failure(types.FailureClass_UnparsableOutput(), "did not run the script that it was given as Tcl does")
    return facts


def version_of(facts):
    native = facts.get("native", "")
    semver = logic.semver(native)
    if semver is None:
        raise failure(types.FailureClass_UnparsableOutput(), f"reports the version `{native}`")
    return types.Version(semver, native, None)


def installation(program, facts):
    """A script in front of the interpreter, which may set anything, is not the interpreter."""
    path, executable = program.path(), facts.get("executable")
    if executable != path:
        raise failure(types.FailureClass_ShimUnresolved(), f"starts `{executable}`, which is to be used itself")
    aliases = [name for name in program.names() if name != path]
    return types.Installation(path, version_of(facts), program.source(), aliases, attributes(facts))


def attributes(facts):
    return [(name, facts[name]) for name in logic.ATTRIBUTES if name in facts]


def equal(name, kind, expected, found):
    if expected == found:
        return Check(name, Outcome_Passed(), found)
    return Check(name, Outcome_Failed(types.Failure(kind, f"it is `{found}` instead of `{expected}`")), found or "")


def capability(name, version, without):
    if version is not None:
        return Check(name, Outcome_Passed(), version)
    return Check(name, Outcome_Warned(types.Failure(types.FailureClass_MissingCapability(name), without)), "no")


def failure(kind, message):
    return Err(types.Failure(kind, message))
