"""JSON schema of the sandbox's test controller (compliance/comply-test-controller-request.json)."""

from __future__ import annotations

from postback.transports.shapes import ANSWER, ENVELOPE, TaskSchema, array, object_of, text

__all__ = ["CONTROLLER_SCHEMAS"]

CONTROLLER_SCHEMAS: dict[str, TaskSchema] = {
    "comply_test_controller": TaskSchema(
        "Test controller",
        "Sandbox only, for official test runners: seed products, prices, accounts and media buys, force statuses, "
        "simulate delivery. The scenario list_scenarios lists what there is.",
        object_of(
            ENVELOPE
            | {
                "scenario": text("What to do."),
                "params": {"type": "object", "description": "What the scenario needs."},
                "account": {"type": "object", "description": "A sandbox account."},
            },
            "scenario",
        ),
        object_of(
            ANSWER
            | {
                "success": {"type": "boolean"},
                "error": text("Why the scenario failed, for programs."),
                "error_detail": text("The same for people."),
                "scenarios": array({"type": "string"}, "Of list_scenarios."),
                "previous_state": {"type": "string"},
                "current_state": {"type": "string"},
                "simulated": {"type": "object"},
                "cumulative": {"type": "object"},
                "message": {"type": "string"},
            },
            "success",
        ),
        {"scenario": "list_scenarios"},
        read_only=False,
    ),
}
