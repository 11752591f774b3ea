from drivers.nuscenes.schema import (
    CATEGORIES,
    TABLES,
    Category,
    Link,
    Numbers,
    Sample,
    list_fields,
    make_record,
)


def test_the_tables_are_the_thirteen_of_nuscenes() -> None:
    assert len(TABLES) == 13
    assert CATEGORIES.index("vehicle.car") == 17
    assert (CATEGORIES[0], CATEGORIES[31], len(CATEGORIES)) == ("noise", "vehicle.ego", 32)


def test_a_field_says_its_type_and_where_it_leads() -> None:
    fields = {f.name: f for f in list_fields("sample_annotation")}
    assert fields["size"].rule == Numbers((3,))
    assert fields["prev"].rule == Link("sample_annotation", optional=True)
    assert fields["attribute_tokens"].kind is list
    assert fields["num_lidar_pts"].kind is int
    assert all(f.required for f in fields.values())
    assert not list_fields("category")[-1].required


def test_a_record_leaves_out_what_a_row_has_not() -> None:
    row = Category(token="c", name="vehicle.car", description="")
    assert make_record(row) == {"token": "c", "name": "vehicle.car", "description": ""}
    sample = Sample(token="s", timestamp=1, scene_token="k", prev="", next="")
    assert make_record(sample)["prev"] == ""


def test_links_lead_to_tables() -> None:
    rules = [f.rule for table in TABLES for f in list_fields(table)]
    assert {rule.table for rule in rules if isinstance(rule, Link)} < set(TABLES)
