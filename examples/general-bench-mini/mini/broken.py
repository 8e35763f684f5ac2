"""A submission in which everything goes wrong that models' outputs are known to do wrong."""

from __future__ import annotations

import json

#: The name that its model.json gives: hostile to SQL, to paths and to spreadsheets.
NAME = "evil'; DROP TABLE levels;--/x"


def broken(sound: dict[str, bytes]) -> dict[str, bytes]:
    """Files of the broken submission by path, made from a sound one's plain or enveloped files.

    Every task not named here is absent, one is left sound.
    """

    def rows(folder: str) -> list[dict]:
        content = json.loads(sound[f"{folder}/prediction.json"])
        return content["data"] if isinstance(content, dict) else content

    def write(folder: str, content: object) -> None:
        files[f"{folder}/prediction.json"] = json.dumps(content, indent=0).encode()

    files: dict[str, bytes] = {"model.json": json.dumps({"name": NAME}).encode()}
    currency = "nlp/Currency-Question-Answering"
    files[f"{currency}/prediction.json"] = sound[f"{currency}/prediction.json"]

    # Cut off in the middle: a full disk, a stopped download.
    digits = "image/comprehension/Handwritten-Digit-Recognition"
    whole = sound[f"{digits}/prediction.json"]
    files[f"{digits}/prediction.json"] = whole[: len(whole) // 2]

    # Rows that are not rows, and values that no answer has.
    actions = "video/comprehension/Hand-Action-Recognition"
    strange = rows(actions)
    strange[0] = {"id": 1}
    strange[1] = {"id": 2, "prediction": None}
    strange[2] = {"id": 3, "prediction": {"label": "point"}}
    strange[3] = {"prediction": "point"}
    strange[4] = {"id": {"nested": 5}, "prediction": "point"}
    strange[5] = {"id": 6, "prediction": 3.5}
    write(actions, [*strange, "point", 7, None, ["point"]])

    # The same instance answered twice, with the same and with another answer; ids of no instance.
    speakers = "audio/comprehension/SpeakerIdentification"
    first, second, *others = rows(speakers)
    contradiction = {"id": second["id"], "prediction": "speaker 0"}
    stranger = {"id": "no-such-instance", "prediction": "speaker 1"}
    write(speakers, [first, first, second, contradiction, *others, stranger])

    # Numbers that are none: NaN, infinity, too few, text.
    terrain = "3d/generation/terrain_completion"
    heights = rows(terrain)
    heights[0]["prediction"][0] = float("nan")
    heights[1]["prediction"][0] = float("inf")
    heights[2]["prediction"] = heights[2]["prediction"][:3]
    heights[3]["prediction"][0] = "high"
    write(terrain, heights)

    # Generated files that were never delivered, one of them outside of the submission.
    track = "video/generation/hand_track_inpainting"
    tracks = rows(track)
    tracks[0]["prediction"] = "generated/0001.npy"
    tracks[1]["prediction"] = "../../../../etc/passwd"
    write(track, tracks)

    # Not JSON at all, not UTF-8, empty, JSON of another shape, and a task that there is not.
    files["nlp/EmploymentForecasting/prediction.json"] = b"<html>502 Bad Gateway</html>"
    files["nlp/PythonCodeExplanation/prediction.json"] = b'[{"id": 1, "prediction": "\xff\xfe"}]'
    files["nlp/Python-Code-Generation/prediction.json"] = b""
    write("nlp/docstring_summarization", {"results": "see the other file"})
    write("nlp/No-Such-Task", [{"id": 1, "prediction": "unheard"}])
    return files
