"""Labelled addresses: words beside one another with one label are an entity, and each address is there once."""
from pathlib import Path

from pipelines.ingest.sources.source import Source
from pipelines.tools.text_data import tagged

CONTENT = b"""<AddressCollection>
  <AddressString><AddressNumber>36</AddressNumber> <StreetName>King</StreetName> <StreetName>Jr</StreetName>,
    <PlaceName>Bel Air</PlaceName></AddressString>
  <AddressString><PlaceName>Bel</PlaceName> <StateName>MD</StateName> <PlaceName>Air</PlaceName></AddressString>
  <AddressString><AddressNumber>36</AddressNumber> <Other>King Jr</Other> <Other>Bel Air</Other></AddressString>
  <AddressString/>
</AddressCollection>"""


def test_labels_become_entities_of_words(tmp_path: Path):
    texts = list(tagged(CONTENT))
    assert texts == [[("36", "B-AddressNumber"), ("King", "B-StreetName"), ("Jr", "I-StreetName"),
                      ("Bel", "B-PlaceName"), ("Air", "I-PlaceName")],
                     [("Bel", "B-PlaceName"), ("MD", "B-StateName"), ("Air", "B-PlaceName")]]
    path = tmp_path / "addresses.txt"
    path.write_text("\n".join("".join(f"{word} {tag}\n" for word, tag in text) for text in texts))
    columns = Source.read({"conll": str(path)}).tables()["train"].columns
    assert columns["text"].tolist() == [b"36 King Jr Bel Air", b"Bel MD Air"]
    assert columns["tags"][1] == b"B-PlaceName B-StateName B-PlaceName"
