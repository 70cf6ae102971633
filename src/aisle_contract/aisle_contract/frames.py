"""Names of coordinate frames (REP 105: one root, z up, floor z = 0; optical frames per REP 103)."""

STORE = "store"


def gondola(gondola_id: str) -> str:
    return f"gondola_{gondola_id}"


def shelf(gondola_id: str, shelf_id: str) -> str:
    return f"gondola_{gondola_id}_shelf_{shelf_id}"


def camera(camera_id: str) -> str:
    """The camera's body frame: x forward, y left, z up."""
    return f"camera_{camera_id}"


def camera_optical(camera_id: str) -> str:
    """The camera's optical frame: z forward, x right, y down."""
    return f"camera_{camera_id}_optical"


def gate(gate_id: str) -> str:
    return f"gate_{gate_id}"
