"""Writes `tests/fixtures/root/written_by_root`: files of one event as ROOT writes them, for tests where there is no ROOT.

make root-tests installs ROOT; then: .venv/bin/python tests/root/write_fixtures.py DIRECTORY
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ROOT

Filler = Callable[[Any, int], Any]
"""Adds to a tree or a file what one event has; returns what must stay alive until the tree is filled."""


def numbers(tree: Any, number: int) -> Any:
    """Every type of number, alone, in arrays, and in lists with signed and unsigned counters."""
    flag, matrix, rows, cells = array("B", [number % 2]), array("d", range(6)), array("i", [3]), array("I", [2])
    energies = array("f", [number, 1])
    tree.Branch("nrow", rows, "nrow/I")
    tree.Branch("ncell", cells, "ncell/i")
    codes = {"B": "b", "b": "B", "S": "h", "s": "H", "I": "i", "i": "I", "L": "q", "l": "Q", "F": "f", "D": "d"}
    kept = []
    for letter, code in codes.items():
        name = f"{'u' if letter.islower() else ''}{letter.upper()}"
        kept.append(array(code, [100 + number]))
        tree.Branch(f"one_{name}", kept[-1], f"one_{name}/{letter}")
        kept.append(array(code, [number + 1] * 3))
        tree.Branch(f"list_{name}", kept[-1], f"list_{name}[nrow]/{letter}")
    tree.Branch("flag", flag, "flag/O")
    tree.Branch("matrix", matrix, "matrix[2][3]/D")
    tree.Branch("cells", energies, "cells[ncell]/F")
    tree.GetBranch("matrix").SetTitle("momenta of two particles in GeV")
    tree.GetBranch("ncell").SetTitle("number of calorimeter cells")
    return kept, flag, matrix, rows, cells, energies


def list_of_arrays(tree: Any, number: int) -> Any:
    count, pairs = array("i", [2]), array("f", [number, 1, 2, 3])
    tree.Branch("npair", count, "npair/I")
    tree.Branch("pairs", pairs, "pairs[npair][2]/F")
    return count, pairs


def vector(tree: Any, number: int) -> Any:
    values = ROOT.std.vector("float")([1.0, 2.0, float(number)])
    tree.Branch("vec", values)
    return values


def nested_vector(tree: Any, number: int) -> Any:
    values = ROOT.std.vector("std::vector<unsigned int>")()
    values.push_back(ROOT.std.vector("unsigned int")([1, number]))
    tree.Branch("vecvec", values)
    return values


def text(tree: Any, number: int) -> Any:
    words = ROOT.std.string(f"event {number}")
    tree.Branch("words", words)
    return words


def packed(tree: Any, number: int) -> Any:
    value = array("d", [1.0])
    tree.Branch("d32", value, "d32/d[0,10,12]")
    return value


def wide_counter(tree: Any, number: int) -> Any:
    count, values = array("q", [2]), array("f", [1, 2])
    tree.Branch("nwide", count, "nwide/L")
    tree.Branch("wide", values, "wide[nwide]/F")
    return count, values


def leaves(tree: Any, number: int) -> Any:
    values = array("f", [1, 2])
    tree.Branch("point", values, "x/F:y/F")
    return values


def momentum(tree: Any, number: int) -> Any:
    vector_ = ROOT.TLorentzVector(1, 2, 3, number)
    tree.Branch("momentum", vector_)
    return vector_


def alias(tree: Any, number: int) -> Any:
    tree.SetAlias("twice", "EventNumber*2")


def user_info(tree: Any, number: int) -> Any:
    note = ROOT.TNamed("made", "by hand")
    ROOT.SetOwnership(note, False)
    tree.GetUserInfo().Add(note)


def parameter(file: Any, number: int) -> Any:
    file.WriteObject(ROOT.TParameter("double")("par", 3.0), "par")


def graph(file: Any, number: int) -> Any:
    ROOT.TGraph(2, array("d", [1, 2]), array("d", [3, 4])).Write("graph")


def tntuple(file: Any, number: int) -> Any:
    ntuple = ROOT.TNtuple("points", "points", "x:y")
    ntuple.Fill(1, 2)
    ntuple.Write()


def histograms(file: Any, number: int) -> Any:
    for class_name in ("TH1C", "TH1S", "TH1I", "TH1F", "TH1D"):
        histogram = getattr(ROOT, class_name)(f"h{class_name}", "one", 10, 0, 1)
        histogram.Fill(number / 10, 2)
        histogram.Write()
    weighted = ROOT.TH1D("weighted", "with errors", 3, array("d", [0, 0.1, 0.5, 1]))
    weighted.Sumw2()
    weighted.Fill(number / 10, 0.25)
    weighted.Write()
    labelled = ROOT.TH1F("labelled", "cuts", 2, 0, 2)
    labelled.GetXaxis().SetBinLabel(1, "all"), labelled.GetXaxis().SetBinLabel(2, "good")
    labelled.Fill(number % 2)
    labelled.Write()
    plane = ROOT.TH2F("plane", "two", 4, 0, 1, 3, 0, 1)
    plane.Fill(number / 10, 0.4)
    plane.Write()
    space = ROOT.TH3D("space", "three", 2, 0, 1, 2, 0, 1, 2, 0, 1)
    space.Fill(number / 10, 0.4, 0.8)
    space.Write()
    profile = ROOT.TProfile("profile", "mean", 5, 0, 1)
    profile.Fill(number / 10, number)
    profile.Write()


def fitted(file: Any, number: int) -> Any:
    histogram = ROOT.TH1D("fitted", "f", 10, 0, 1)
    histogram.Fill(0.5, 3)
    note = ROOT.TNamed("fit", "of a line")
    ROOT.SetOwnership(note, False)
    histogram.GetListOfFunctions().Add(note)
    histogram.Write()


IN_TREE: dict[str, Filler] = {
    "numbers": numbers, "vector": vector, "nested_vector": nested_vector, "text": text, "packed": packed, "leaves": leaves,
    "wide_counter": wide_counter, "momentum": momentum, "list_of_arrays": list_of_arrays, "alias": alias, "user_info": user_info,
}  # fmt: skip
IN_FILE: dict[str, Filler] = {
    "parameter": parameter, "graph": graph, "tntuple": tntuple, "histograms": histograms, "fitted": fitted,
}  # fmt: skip


def write(path: Path, kind: str, number: int) -> Path:
    """The output of event `number`: a tree `reco/HITS` of two cycles, and what is called `kind`."""
    file = ROOT.TFile(str(path), "RECREATE")
    file.mkdir("reco").cd()
    tree = ROOT.TTree("HITS", "hits of one event")
    event = array("Q", [number])
    tree.Branch("EventNumber", event, "EventNumber/l")
    alive = IN_TREE[kind](tree, number) if kind in IN_TREE else None
    tree.Write()
    tree.Fill()
    tree.Write()
    file.cd()
    if kind in IN_FILE:
        IN_FILE[kind](file, number)
    file.Close()
    del alive
    return path


def write_rntuple(path: Path, number: int) -> None:
    """The output of event `number` as an RNTuple `HITS`."""
    name = str(path)  # ROOT keeps a view of it
    model = ROOT.RNTupleModel.Create()
    for field, type_name in (("EventNumber", "std::uint64_t"), ("pt", "std::vector<float>"), ("word", "std::string")):
        model.MakeField[type_name](field)
    writer = ROOT.RNTupleWriter.Recreate(model, "HITS", name)
    entry = writer.CreateEntry()
    entry["EventNumber"], entry["word"] = number, f"event {number}"
    entry["pt"].push_back(number + 0.5)
    writer.Fill(entry)
    del writer


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    for kind in {*IN_TREE, *IN_FILE} - {"numbers", "histograms"}:
        write(place / f"{kind}.root", kind, 1)
    for number in (1, 2, 3):
        for kind in ("numbers", "histograms"):
            write(place / f"{kind}.{number}.root", kind, number)
        write_rntuple(place / f"rntuple.{number}.root", number)
