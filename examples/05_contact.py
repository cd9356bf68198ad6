"""Contact by InteractVLM: where the body and the object touch, and what the model says.

Call it with a folder for the result and one of weights: python examples/05_contact.py out/05 path/to/weights
Weights are a released checkpoint of InteractVLM's authors (for non-commercial research; ask them) or a folder that
``hoirecon contact convert`` wrote. Without weights a toy network stands in, which says what it is told and finds noise:
good for trying the interface, and for nothing else.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from hoirecon.arrays import ByteArray
from hoirecon.contact import InteractVLM, Query
from hoirecon.data.objects import load_object
from hoirecon.sample import sample_image
from hoirecon.views import contact_sheet


def stand_in(image: ByteArray) -> InteractVLM:
    """A network with random weights that gives two answers by heart."""
    from hoirecon.contact.toy import teach_answers, toy_model

    model = toy_model()
    body = "The contacting body parts are left_palm, and the contact region is {token}."
    thing = "The affordance type is lift, and the contact region is {token}."
    mesh = load_object("helmet/full_face").mesh
    teach_answers(model, {Query("human", image, "helmet"): body, Query("object", image, "helmet", mesh=mesh): thing})
    return model


def main(out: Path, weights: Path | None) -> None:
    """Ask about the helmet of the sample and draw the answer."""
    image, mesh = sample_image(), load_object("helmet/full_face").mesh
    model = stand_in(image) if weights is None else InteractVLM.from_pretrained(weights)
    print(model)

    (helmet,) = model.joint_contact(image, ["helmet"], {"helmet": mesh})  # the photograph is encoded once
    assert helmet.object is not None
    for found in (helmet.human, helmet.object):
        print(found)
        print("  it says:", found.answer)
        for note in found.notes:
            print("  note:", note)
    print("named:", helmet.human.named_parts, "touched:", helmet.human.touched_parts()[:5])

    out.mkdir(parents=True, exist_ok=True)
    helmet.human.save(out / "human.npz")
    helmet.object.save(out / "helmet.npz")
    sheet = contact_sheet(image, (model.body_mesh, helmet.human), [(mesh, helmet.object)])
    Image.fromarray(sheet).save(out / "contact.jpg", quality=92)
    print("written to", out)


if __name__ == "__main__":
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/05"), folder)
