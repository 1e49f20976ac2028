"""Write the values of all parameters: each auto gets that of the recipe."""

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
        voter, given = for_member(params, member.name), (member.model_extra or {})
        if unused := given.get("architecture", {}).keys() - voter.architecture.given().keys():
            origin = f" from {voter.pretrained}" if voter.starts_from_encoder else ""
            names = ", ".join(sorted(unused))
            print(f"{member.name}: architecture: {names} not used by {voter.model}{origin}")


if __name__ == "__main__":
    run(main)
