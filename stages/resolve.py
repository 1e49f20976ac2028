"""Write the parameter values in force, with every auto replaced."""

from _stage import prepare, run

prepare()

from arxiv_hybrid.params import Params, for_member, to_yaml, values_in_force
from arxiv_hybrid.paths import MEMBERS, RESOLVED
from arxiv_hybrid.system.files import write_text


def main(params: Params) -> None:
    MEMBERS.mkdir(parents=True, exist_ok=True)  # stage ensemble needs it even without members
    write_text(RESOLVED, to_yaml(values_in_force(params)))
    members = params.ensemble.members
    start = f" from {params.pretrained}" if params.pretrained else ""
    print(
        f"{params.model}{start} by recipe {params.recipe}, {len(members)} ensemble members "
        f"-> {RESOLVED}"
    )
    for member in members:
        has_widths = "architecture" in (member.model_extra or {})
        if has_widths and for_member(params, member.name).starts_from_encoder:
            print(f"{member.name}: its architecture is that of {params.pretrained}")


if __name__ == "__main__":
    run(main)
