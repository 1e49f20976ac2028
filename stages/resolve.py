"""Write the parameter values in force, with every auto replaced."""

from _stage import prepare, run

prepare()

from arxiv_hybrid.params import Params, to_yaml, values_in_force
from arxiv_hybrid.paths import MEMBERS, RESOLVED
from arxiv_hybrid.system.files import write_text


def main(params: Params) -> None:
    MEMBERS.mkdir(parents=True, exist_ok=True)  # stage ensemble needs it even without members
    write_text(RESOLVED, to_yaml(values_in_force(params)))
    members = len(params.ensemble.members)
    print(f"{params.model} by recipe {params.recipe}, {members} ensemble members -> {RESOLVED}")


if __name__ == "__main__":
    run(main)
