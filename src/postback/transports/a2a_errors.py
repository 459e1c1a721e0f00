"""A2A's errors, by the names, codes and messages of its specification (1.0, 5.4; 0.3, 8) and JSON-RPC's.

A message never quotes the request.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "A2AError",
    "ExtendedAgentCardNotConfiguredError",
    "InvalidParamsError",
    "MethodNotFoundError",
    "PushNotificationNotSupportedError",
    "TaskNotCancelableError",
    "TaskNotFoundError",
    "UnsupportedOperationError",
    "VersionNotSupportedError",
]


class A2AError(Exception):
    """Base of these errors; without a message of its own an instance has that of its class."""

    code: ClassVar[int]
    message: ClassVar[str]

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)


class TaskNotFoundError(A2AError):
    code = -32001
    message = "Task not found"


class TaskNotCancelableError(A2AError):
    code = -32002
    message = "Task cannot be canceled"


class PushNotificationNotSupportedError(A2AError):
    code = -32003
    message = "Push Notification is not supported"


class UnsupportedOperationError(A2AError):
    code = -32004
    message = "This operation is not supported"


class ExtendedAgentCardNotConfiguredError(A2AError):
    code = -32007
    message = "Authenticated Extended Card is not configured"


class VersionNotSupportedError(A2AError):
    code = -32009
    message = "Version not supported"


class MethodNotFoundError(A2AError):
    code = -32601
    message = "Method not found"


class InvalidParamsError(A2AError):
    code = -32602
    message = "Invalid params"
