"""Dispatch: every transport brings its task calls here, and gets their answers.

What all tasks share happens here, once: the AdCP release is negotiated, scope, credentials and idempotency key are
checked, and the payload or the error gets its envelope. A transport brings bytes and a principal; a task function
brings the payload.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from postback.auth.principal import SCOPES, Principal
from postback.errors import (
    CredentialInArguments,
    InvalidRequest,
    PermissionDenied,
    PostbackError,
    UnsupportedTask,
)
from postback.protocol.envelope import failure, success
from postback.protocol.releases import UNVERSIONED, negotiate
from postback.sandbox.admission import SandboxAdmission
from postback.services import Services
from postback.tasks.arguments import Arguments, pin_of
from postback.tasks.call import TaskCall
from postback.tasks.credentials import refuse_credentials
from postback.tasks.registry import SELLER_TASKS, TASKS, key_required, offered
from postback.tasks.task import Task
from postback.tasks.unserved_fields import UNSERVED_FIELDS, unserved_warnings

__all__ = ["Answer", "Call", "Transport", "require_scope", "run"]

Transport = Literal["rest", "mcp", "a2a", "tag"]


@dataclass(frozen=True, slots=True)
class Call:
    """A task call, as a transport received it.

    Attributes:
        task: The AdCP task's name, for example ``log_event``.
        arguments: The task's arguments: the bytes of one JSON object, decompressed and bounded, not yet parsed.
        principal: The caller.
        request_id: Identifies this call in the log and in the response.
        transport: Its transport; for metrics only.
    """

    task: str
    arguments: bytes
    principal: Principal
    request_id: str
    transport: Transport


@dataclass(frozen=True, slots=True)
class Answer:
    """The response of a task: a JSON object, and the error if the call failed as a whole."""

    body: dict[str, Any]
    error: PostbackError | None = None

    @property
    def failed(self) -> bool:
        """Whether the call failed, or the test controller's scenario, which is no error of AdCP's."""
        return self.error is not None or self.body.get("success") is False


async def run(services: Services, call: Call) -> Answer:
    """Run one task. Never raises a PostbackError: a failure is an answer too."""
    served = UNVERSIONED
    prereleases = services.settings.prereleases
    context: object = None
    try:
        try:
            with services.metrics.request_stages.time("parse"):
                arguments = Arguments(call.arguments)
        except PostbackError:  # reported with the codes of the release that is pinned, if that can be read
            served = negotiate(*pin_of(call.arguments), prereleases)
            raise
        try:
            pin = arguments.value("adcp_version"), arguments.value("adcp_major_version")
            served = negotiate(*pin, prereleases)
        finally:  # echoed even when no release fits the pin
            context = arguments.context()
        task = _task(services, call)
        principal = call.principal
        require_scope(principal, task.scope)
        refuse_credentials(arguments)
        if services.settings.sandbox:
            principal, arguments = await _admitted(services, principal, arguments)
        key = arguments.idempotency_key()
        if key is None and key_required(task, served.release):
            raise InvalidRequest(
                f"idempotency_key is required: {call.task} changes state.",
                field="idempotency_key",
                suggestion="Send a fresh UUID for each new call, and the same one for each retry.",
            )
        task_call = TaskCall(services, call.task, principal, call.request_id, arguments, served.release, key)
        payload = await task.function(task_call)
        unserved = not UNSERVED_FIELDS.isdisjoint(arguments.fields)
        warnings = unserved_warnings(call.task, arguments.sent) if unserved else ()
        return Answer(success(payload, served, call.request_id, context, [*warnings, *task_call.warnings]))
    except PostbackError as error:
        if isinstance(error, CredentialInArguments):
            context = None
        failure_defaults = TASKS[call.task].failure_defaults if call.task in TASKS else {}
        return Answer({**failure(error, call.request_id, served, context), **failure_defaults}, error)


async def _admitted(services: Services, principal: Principal, arguments: Arguments) -> tuple[Principal, Arguments]:
    """The principal with the account that the call names, made on first use, and the arguments that name it."""
    admission = SandboxAdmission(services.accounts, services.keys)
    ref = arguments.value("account")
    if not admission.needed(ref):
        return principal, arguments
    principal, ref = await services.threads.control.run(admission.admit, principal, ref)
    return principal, arguments.replaced(account=ref)


def _task(services: Services, call: Call) -> Task:
    sandbox = services.settings.sandbox
    task = TASKS.get(call.task)
    if task and (sandbox or not task.sandbox_only):
        return task
    if call.transport == "rest" and call.task in SELLER_TASKS:
        return SELLER_TASKS[call.task]
    raise UnsupportedTask(
        "This server does not support this task.", details={"supported_tasks": sorted(offered(sandbox))}
    )


def require_scope(principal: Principal, scope: str) -> None:
    """Check that the caller's key has a scope.

    Raises:
        PermissionDenied: It doesn't.
    """
    if not SCOPES[scope] & principal.scopes:
        raise PermissionDenied(f"This call requires an API key with the scope {scope}.")
