"""CSV files of users: what is accepted, and the errors for what is not."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import DEFAULTS, merged

from arxiv_hybrid.data.label_set import LabelSet
from arxiv_hybrid.data.labels import label_papers
from arxiv_hybrid.data.schema import COLUMNS, check_papers
from arxiv_hybrid.data.table import PaperFile
from arxiv_hybrid.params import Params, parse
from arxiv_hybrid.params.schema import Columns
from arxiv_hybrid.sources.csv_source import load_csv, read_csv
from arxiv_hybrid.sources.fetch import FetchResult, Workspace, fetch_csv
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.system.files import write_parquet
from arxiv_hybrid.taxonomy.label_sets import CATEGORIES

GOOD = {
    "id": ["1", "1", "2"],
    "title": ["A title", "A title", "Another"],
    "abstract": ["Some words.", "Some words.", "More words."],
    "category": ["cs.AI", "cs.LG", "cs.CL"],
    "primary_category": ["cs.AI", "cs.AI", "cs.CL"],
    "all_categories": ["cs.AI,cs.LG", "cs.AI cs.LG", "cs.CL"],
    "published": ["2025-01-02T10:00:00Z", "2025-01-02", ""],
}


def write(tmp_path: Path, **changes: list[str]) -> Path:
    path = tmp_path / "papers.csv"
    pd.DataFrame({**GOOD, **changes}).to_csv(path, index=False)
    return path


def check(path: Path) -> pd.DataFrame:
    return check_papers(read_csv(path), str(path))


def test_valid_file_plain_and_gz(tmp_path: Path) -> None:
    plain = check(write(tmp_path))
    packed = tmp_path / "papers.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "papers.csv").read_bytes()))
    pd.testing.assert_frame_equal(plain, check(packed))
    assert tuple(plain.columns) == COLUMNS
    assert plain["all_categories"].tolist() == ["cs.AI,cs.LG", "cs.AI,cs.LG", "cs.CL"]
    assert plain["published"].tolist() == ["2025-01-02", "2025-01-02", ""]


def test_missing_columns_are_derived(tmp_path: Path) -> None:
    path = tmp_path / "papers.csv"
    columns = {"id": ["1"], "title": ["T"], "abstract": ["Words"]}
    pd.DataFrame({**columns, "all_categories": ["stat.ML cs.LG"]}).to_csv(path, index=False)
    row = check_papers(load_csv(path, wanted=CATEGORIES).papers, str(path)).iloc[0]
    assert (row["primary_category"], row["category"]) == ("stat.ML", "cs.LG")
    assert check(path)["category"].tolist() == ["stat.ML"], "the primary one if any is wanted"
    pd.DataFrame({**columns, "category": ["cs.CV"]}).to_csv(path, index=False)
    row = check(path).iloc[0]
    assert (row["primary_category"], row["all_categories"]) == ("cs.CV", "cs.CV")


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"title": ["A title", "A title", ""]}, ["row 3", "column title", "''", "text"]),
        ({"abstract": ["Some words.", "Some words.", " n/a"]}, ["row 3", "abstract", "n/a"]),
        ({"abstract": ["Some words.", "Some words.", "NaN"]}, ["row 3", "abstract", "NaN"]),
        ({"category": ["cs.AI", "cs.LG", "cs.XX"]}, ["row 3", "category", "cs.XX", "cs.LG"]),
        ({"primary_category": ["cs.AI", "cs.AI", "?"]}, ["row 3", "primary_category", "'?'"]),
        (
            {"primary_category": ["cs.AI", "cs.AI", "cs.CL cs.LG"]},
            ["row 3", "primary_category", "cs.CL cs.LG", "a category of arXiv"],
        ),
        (
            {"all_categories": ["cs.AI", "cs.AI", "cs.CL; robots"]},
            ["row 3", "all_categories", "'cs.CL; robots'", "arXiv has no robots"],
        ),
        ({"all_categories": ["", "cs.AI", "cs.CL"]}, ["row 1", "all_categories"]),
        ({"published": ["2025-01-02", "2025-01-02", "2025-13-01"]}, ["row 3", "published"]),
        ({"id": ["1", "1", ""]}, ["row 3", "column id"]),
        ({"title": ["A title", "B title", "C"]}, ["id 1", "title", "rows 1 and 2"]),
        ({"category": ["cs.AI", "cs.AI", "cs.CL"]}, ["row 2", "paper 1", "twice", "cs.AI"]),
    ],
)
def test_bad_cells_are_reported_by_row_and_column(
    tmp_path: Path, changes: dict[str, list[str]], fragments: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        check(write(tmp_path, **changes))
    for fragment in [*fragments, "papers.csv"]:
        assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_versions_are_removed_from_arxiv_ids(tmp_path: Path) -> None:
    ids = ["2501.00001v1", "2501.00001v1", "paper-v2"]
    assert check(write(tmp_path, id=ids))["id"].tolist() == ["2501.00001"] * 2 + ["paper-v2"]


def test_number_of_failing_rows_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"row 1, column title.*\(2 more rows fail\)"):
        check(write(tmp_path, title=["", "", ""]))


def test_missing_columns_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "papers.csv"
    path.write_text("id,title,summary\n1,a,b\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"no column all_categories or .*it has id, title, summary"):
        read_csv(path)
    path.write_text("id,Titel,summary\n1,a,b\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"no column title and no column abstract.* one of them"):
        read_csv(path)
    path.write_text("id;title;abstract\n1;a;b\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"it has id;title;abstract; separate the columns by comm"):
        read_csv(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"id,title,abstract,category\n", "has no rows"),
        (b"id,title,abstract,category\n1,caf\xe9,b,cs.AI\n", "not UTF-8: byte 0xe9"),
        (b'id,title,abstract,category\n1,"a,b,cs.AI\n', "line 2: unexpected end of data"),
        (b"id,title,abstract,category\n1,a,b,cs.AI,extra\n", "line 2: 5 fields, the header has 4"),
    ],
)
def test_broken_files_are_reported(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "papers.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        check(path)


def test_ids_that_became_numbers_are_told(tmp_path: Path) -> None:
    table = {"id": ["2511.00012", "2511.00013", "2511.0001"], "title": list("TUV"),
             "abstract": list("xyz"), "kind": list("aab")}  # fmt: skip
    result = own(tmp_path, table)
    assert result.origin["ids_without_zeros"] == 1
    assert "1 id of arXiv lacks zeros, the first 2511.0001 in row 3" in result.remark
    other = own(tmp_path, {**table, "id": ["1001.1", "1001.2", "1001.3"]})
    assert other.origin["ids_without_zeros"] == 0


def test_forms_of_an_id_are_one_paper(tmp_path: Path) -> None:
    forms = ["2511.00012", "https://arxiv.org/pdf/2511.00012v2.pdf", "10.48550/arXiv.2511.00012"]
    table = {"id": forms, "title": ["T"] * 3, "abstract": ["W"] * 3, "kind": ["a", "a", "a"]}
    result = own(tmp_path, table)
    assert result.papers["id"].tolist() == ["2511.00012"]
    assert "2 rows of an earlier paper left out" in result.remark


def test_rows_repeated_under_another_form_of_the_id_are_left_out(tmp_path: Path) -> None:
    ids = [f"2511.{number:05}" for number in range(1, 41)]
    texts = {"title": [f"T {i}" for i in ids], "abstract": [f"A {i}" for i in ids],
             "category": ["cs.LG", "cs.CL"] * 20}  # fmt: skip
    once = pd.DataFrame({"id": ids, **texts})
    urls = once.assign(id=[f"https://arxiv.org/pdf/{i}.pdf" for i in ids])
    path = tmp_path / "twice.csv"
    pd.concat([once, urls, once]).to_csv(path, index=False)
    labels = {"from": "primary", "column": None, "classes": ["cs.LG", "cs.CL"]}
    result = fetch_csv(
        own_params(path, labels=labels), Workspace(tmp_path, lambda: tmp_path, tmp_path)
    )
    assert result.papers["id"].tolist() == ids
    assert "80 rows of an earlier paper left out" in result.remark
    other = once.assign(title="Another title", id=urls["id"])
    pd.concat([once, other]).to_csv(path, index=False)
    with pytest.raises(UserError, match=r"id 2511\.00001 has two different values of title, in ro"):
        fetch_csv(own_params(path, labels=labels), Workspace(tmp_path, lambda: tmp_path, tmp_path))


@pytest.mark.parametrize("text", ["0", "1e5", "True", "007", "-1", "p", "$p$", "日本", "x²", "?"])
def test_short_titles_stay_as_they_are(tmp_path: Path, text: str) -> None:
    papers = check(write(tmp_path, title=[text, text, "NULL and void"]))
    assert papers["title"].tolist() == [text, text, "NULL and void"]
    write_parquet(tmp_path / "papers.parquet", papers)
    assert PaperFile(tmp_path / "papers.parquet")["title"].tolist()[0] == text


def test_truncated_and_mislabelled_gz(tmp_path: Path) -> None:
    path = tmp_path / "papers.csv.gz"
    whole = gzip.compress(write(tmp_path).read_bytes() * 50)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="truncated or damaged"):
        read_csv(path)
    path.write_bytes((tmp_path / "papers.csv").read_bytes())
    assert len(check(path)) == 3, "a browser may have decompressed it"


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(UserError, match="is a folder"):
        read_csv(tmp_path)


ONE = {"id": ["1"], "title": ["T"], "abstract": ["Words"]}


@pytest.mark.parametrize(
    "cell", ["cs.LG,stat.ML", "['cs.LG', 'stat.ML']", "CS.LG stat.ml", "cs.LG;stat.ML;cs.LG",
             "cs.LG|stat.ML", '["cs.LG", "stat.ML"]', "cs.LG, stat.ML, I.2.7, 68T50 (Primary)"]
)  # fmt: skip
@pytest.mark.parametrize("column", ["all_categories", "category"])
def test_spellings_of_categories_are_understood_alike(
    tmp_path: Path, cell: str, column: str
) -> None:
    path = tmp_path / "papers.csv"
    pd.DataFrame({**ONE, column: [cell]}).to_csv(path, index=False)
    row = check(path).iloc[0]
    assert row["all_categories"] == "cs.LG,stat.ML"
    assert row["primary_category"] == row["category"] == "cs.LG"


def test_the_primary_category_is_written_first(tmp_path: Path) -> None:
    path = tmp_path / "papers.csv"
    cells = {"primary_category": ["math.ST"], "all_categories": ["cs.LG stat.TH math.ST"]}
    pd.DataFrame({**ONE, **cells}).to_csv(path, index=False)
    assert check(path)["all_categories"].tolist() == ["math.ST,cs.LG,stat.TH"]


def test_rows_of_one_category_each_are_joined_by_id(tmp_path: Path) -> None:
    path = tmp_path / "papers.csv"
    rows = {"id": ["1", "2", "1"], "title": ["T", "U", "T"], "abstract": ["W", "X", "W"]}
    pd.DataFrame({**rows, "category": ["cs.CL", "cs.RO", "cs.LG"]}).to_csv(path, index=False)
    papers = check(path)
    assert papers["category"].tolist() == ["cs.CL", "cs.RO", "cs.LG"]
    assert papers["all_categories"].tolist() == ["cs.CL,cs.LG", "cs.RO", "cs.CL,cs.LG"]
    assert papers["primary_category"].tolist() == ["cs.CL", "cs.RO", "cs.CL"]


def test_names_of_columns_in_any_case_with_spaces_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "papers.csv"
    text = " ID ,TITLE, Abstract,All_Categories,notes\n1,T,Words,cs.RO,x\n"
    path.write_text(text, encoding="utf-8-sig")
    assert check(path).iloc[0][["id", "title", "all_categories"]].tolist() == ["1", "T", "cs.RO"]
    path.write_text("Nr,Name,Summary,Field\n1,T,Words,cs.RO\n", encoding="utf-8")
    names = Columns(id="nr", title="NAME", abstract=" summary ", primary_category="Field")
    row = load_csv(path, columns=names).papers.iloc[0]
    assert row[["id", "title", "abstract", "category"]].tolist() == ["1", "T", "Words", "cs.RO"]


@pytest.mark.parametrize("suffix", ["tsv", "tsv.gz"])
def test_tabs_in_a_tsv(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"papers.{suffix}"
    pd.DataFrame(GOOD).to_csv(path, index=False, sep="\t")
    pd.testing.assert_frame_equal(check(path), check(write(tmp_path)))


def test_ambiguous_and_absent_columns_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "papers.csv"
    path.write_text("id,Title,abstract,title ,category\n1,T,Words,U,cs.RO\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"Title \(column 2\) and title \(column 4\) have the same"):
        read_csv(path)
    path.write_text("id,title,title,abstract,category,x,x\n1,T,U,W,cs.RO,,\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"title \(column 2\) and title \(column 3\)"):
        read_csv(path)
    with pytest.raises(UserError, match=r"no column Titel \(fetch\.columns\.title\); it has id, "):
        load_csv(write(tmp_path), columns=Columns(title="Titel"))


OWN = {
    "Title": ["A bird", "A fish", "Two", "A bird", "0", "Птица", "A cat"],
    "Abstract": ["Words.", "Words.", "More.", "Words.", "x", "Слова.", "Meow."],
    "Kind": ["bird", "fish", "bird; fish", "bird", "fish", "bird", " "],
}


def own(tmp_path: Path, table: dict[str, list[str]], **changes: Any) -> FetchResult:
    path = tmp_path / "own.csv"
    pd.DataFrame(table).to_csv(path, index=False)
    return fetch_csv(own_params(path, **changes), Workspace(tmp_path, lambda: tmp_path, tmp_path))


def own_params(path: Path, **changes: Any) -> Params:
    fetch = {"source": "csv", "path": str(path)}
    content = yaml.safe_load((DEFAULTS / "params.yaml").read_text(encoding="utf-8"))
    labels = {"from": "column", "column": "kind"}
    return parse(merged(content, merged({"fetch": fetch, "labels": labels}, changes)), "params")


def test_labels_of_ones_own_need_no_arxiv(tmp_path: Path) -> None:
    result = own(tmp_path, OWN)
    papers = result.papers
    assert papers["label"].tolist() == ["bird", "fish", "bird; fish", "fish", "bird", ""]
    assert papers.columns.tolist() == [*COLUMNS, "label"]
    assert papers["id"].is_unique
    assert papers["id"].str.match(r"^text-[0-9a-f]{16}$").all()
    assert papers["title"].tolist()[3:5] == ["0", "Птица"]
    assert set(papers["all_categories"]) == set(papers["published"]) == {""}
    assert result.origin["repeated_rows"] == 1
    assert result.origin["papers_without_tokens"] == 1
    assert "ids: they are made from the texts" in result.remark
    assert "1 row of an earlier paper left out" in result.remark
    assert "1 paper without Latin letters or digits" in result.remark
    params = own_params(tmp_path, labels={"separator": ";"})
    labelled = label_papers(papers, params.labels, minimum=1)
    assert labelled.label_set == LabelSet(("bird", "fish"), multi_label=True)
    assert labelled.documents["labels"].tolist() == [[0], [1], [0, 1], [1], [0]]
    assert labelled.unlabelled == 1


def test_made_ids_depend_on_the_text_only(tmp_path: Path) -> None:
    table = pd.DataFrame(OWN)
    ids = dict(
        zip(own(tmp_path, OWN).papers["title"], own(tmp_path, OWN).papers["id"], strict=True)
    )
    reverse = own(tmp_path, table[::-1].assign(Title=" " + table["Title"] + "\n").to_dict("list"))
    assert dict(zip(reverse.papers["title"], reverse.papers["id"], strict=True)) == ids


def test_rows_that_label_a_paper_otherwise_are_counted(tmp_path: Path) -> None:
    kinds = ["bird", "fish", "fish", "fish", "fish", "bird", "cat"]
    result = own(tmp_path, {**OWN, "Kind": kinds})
    assert result.origin["relabelled_rows"] == 1
    assert "1 of these with another label" in result.remark
    with pytest.raises(UserError, match=r"id 1 has two different values of label, in rows 1 and 4"):
        own(tmp_path, {**OWN, "Kind": kinds, "id": list("1231456")})


def test_one_text_is_enough_if_the_other_has_no_column(tmp_path: Path) -> None:
    headlines = {name: OWN[name] for name in ("Title", "Kind")}
    result = own(tmp_path, headlines)
    assert set(result.papers["abstract"]) == {""}
    assert "no column for the abstract: it is empty in every paper" in result.remark
    assert len(result.papers) == 6
    with pytest.raises(UserError, match="row 7, column title: found ''"):
        own(tmp_path, {**headlines, "Title": [*OWN["Title"][:6], ""]})


def test_the_label_column_is_named_in_params(tmp_path: Path) -> None:
    fetch = {"columns": {"label": "Kind"}}
    by_role = own(tmp_path, OWN, labels={"column": None}, fetch=fetch)
    pd.testing.assert_frame_equal(by_role.papers, own(tmp_path, OWN).papers)
    category = {**OWN, "category": OWN["Kind"]}
    del category["Kind"]
    named = own(tmp_path, category, labels={"column": "category"})
    assert named.papers["label"].tolist() == by_role.papers["label"].tolist()
    with pytest.raises(UserError, match=r"no column label \(labels\.column\); it has Title, Abst"):
        own(tmp_path, OWN, labels={"column": None})
    with pytest.raises(UserError, match="column kind is empty in every row"):
        own(tmp_path, {**OWN, "Kind": [" "] * 7})
    same = own(tmp_path, {**OWN, "Kind": ["bird"] * 7}).papers
    with pytest.raises(UserError, match=r"1 of 1 classes .*a classifier needs two"):
        label_papers(same, own_params(tmp_path).labels)


def test_papers_of_other_categories_stay_and_are_counted(tmp_path: Path) -> None:
    table = {"id": ["1 a", " 2", "3"], "title": list("TUV"), "abstract": list("xyz"),
             "all_categories": ["math.CO", "hep-th cs.AI", "cs.RO"]}  # fmt: skip
    result = own(tmp_path, table, labels={"from": "primary", "column": None})
    assert result.papers["id"].tolist() == ["1 a", "2", "3"]
    assert result.papers["category"].tolist() == ["math.CO", "cs.AI", "cs.RO"]
    assert result.origin["papers_outside"] == 2
    assert "2 papers of no wanted category" in result.remark
    labels = {"from": "primary", "column": None, "classes": ["cs.RO", "hep-th"]}
    result = own(tmp_path, table, labels=labels)
    assert result.papers["category"].tolist() == ["math.CO", "hep-th", "cs.RO"]
    assert result.origin["papers_outside"] == 1


def test_rows_of_a_paper_are_one_unless_each_query_has_its_own(tmp_path: Path) -> None:
    table = {name: GOOD[name] for name in GOOD if name != "published"}
    published = own(tmp_path, table, labels={"from": "primary", "column": None})
    assert published.papers["category"].tolist() == ["cs.AI", "cs.LG", "cs.CL"]
    labels = {"from": "primary", "column": None, "classes": ["cs.AI", "cs.CL"]}
    once = own(tmp_path, table, labels=labels)
    assert once.papers["category"].tolist() == ["cs.AI", "cs.CL"]
    assert once.origin["repeated_rows"] == 1
    query = own(tmp_path, table, labels={**labels, "from": "query"})
    assert len(query.papers) == 3
