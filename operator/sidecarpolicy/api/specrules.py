"""CEL rules about a policy's spec as a whole: what the API server refuses, in readable words.

Rules about single fields stand in schema.py, with the table that lays all of them over the models.
"""

from typing import Any, Final

Json = dict[str, Any]


def rules(*rules: tuple[str, str, str]) -> Json:
    """CEL rules; the plain message stands in where the expression cannot be evaluated."""
    keys = ("rule", "message", "messageExpression")
    return {"x-kubernetes-validations": [dict(zip(keys, rule, strict=True)) for rule in rules]}


def _universal_rule(rule: str, message: str) -> tuple[str, str, str]:
    """A rule `rule` for each sidecar `s` in mode Universal; the message begins with its name."""
    return (
        f"self.mode != 'Universal' || !has(self.sidecars) || self.sidecars.all(s, {rule})",
        f"in mode Universal, a sidecar {message}",
        f"'sidecar ' + self.sidecars.map(s, !({rule}), s.name)[0]"
        f" + ' {message}, because its mode is Universal'",
    )


_OWN: Final = (
    "(has(self.sidecars) && self.sidecars.exists(s, s.name == o.sidecar))"
    " || (has(self.adopt) && self.adopt.exists(a, a.container == o.sidecar))"
)
_ADDED_TOO: Final = "has(self.sidecars) && self.sidecars.exists(s, s.name == a.container)"
SPEC_RULES: Final = rules(
    (
        f"!has(self.order) || self.order.all(o, {_OWN})",
        "order may name only sidecars of this policy, and what it adopts",
        f"'order names ' + self.order.map(o, !({_OWN}), o.sidecar)[0]"
        " + ', which this policy neither adds nor adopts'",
    ),
    (
        f"!has(self.adopt) || self.adopt.all(a, !({_ADDED_TOO}))",
        "what a policy adopts cannot have the name of a sidecar that it adds",
        f"'container ' + self.adopt.map(a, {_ADDED_TOO}, a.container)[0]"
        " + ' cannot be adopted, because this policy adds a sidecar of that name'",
    ),
    (
        "(has(self.sidecars) && size(self.sidecars) > 0) || (has(self.adopt)"
        " && size(self.adopt) > 0)",
        "a policy needs sidecars to add, or containers to adopt",
        "'a policy needs sidecars to add, or containers to adopt'",
    ),
    _universal_rule("has(s.command) && size(s.command) > 0", "needs a command"),
    _universal_rule("size(s.name) <= 53", "needs a name of at most 53 characters"),
    _universal_rule(
        "!has(s.lifecycle) || (!has(s.lifecycle.postStart) && (!has(s.lifecycle.preStop)"
        " || (!has(s.lifecycle.preStop.httpGet) && !has(s.lifecycle.preStop.tcpSocket))))",
        "may have no other lifecycle hook than preStop with exec or sleep",
    ),
    (
        "self.mode != 'Universal' || !has(self.adopt) || size(self.adopt) == 0",
        "mode Universal adopts no containers",
        "'mode Universal adopts no containers; use another policy for ' + self.adopt[0].container",
    ),
)
