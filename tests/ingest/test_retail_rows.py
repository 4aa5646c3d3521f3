"""What one row of the file is, each kind of row once."""

import pytest

from ingest.retail_rows import CorrectionRow, InvalidRow, LineRow, ReturnRow, RowMeaning, is_service, meaning_of
from schemas.outcomes import StockCommandKind

AT = 1_291_191_960_000  # 2010-12-01T08:26:00 UTC


def row(
    invoice: str = "536365", product: str = "85123A", quantity: str = "6", at: str = "2010-12-01T08:26:00", price: str = "2.55", customer: str = "17850"
) -> list[str]:
    return [invoice, product, "WHITE HANGING HEART", quantity, at, price, customer, "United Kingdom"]


@pytest.mark.parametrize(
    ("fields", "meaning"),
    [
        (row(), LineRow("536365", "85123A", 6, 255, "17850", AT)),
        (row(customer=""), LineRow("536365", "85123A", 6, 255, "", AT)),
        (row(product=" 85123A "), LineRow("536365", "85123A", 6, 255, "17850", AT)),
        (row(product="85123a"), LineRow("536365", "85123a", 6, 255, "17850", AT)),
        (row(price="0.001"), LineRow("536365", "85123A", 6, 0, "17850", AT)),
        (row(price="0.005"), LineRow("536365", "85123A", 6, 1, "17850", AT)),
        (row(price="2.545"), LineRow("536365", "85123A", 6, 255, "17850", AT)),
        (row(price="38970"), LineRow("536365", "85123A", 6, 3_897_000, "17850", AT)),
        (row(at="12/1/2010 8:26"), LineRow("536365", "85123A", 6, 255, "17850", AT)),
        (row(at="2010-12-01T09:26:00+01:00"), LineRow("536365", "85123A", 6, 255, "17850", AT)),
        (row("C536379", quantity="-1", product="D"), ReturnRow("C536379", "D", 1, "17850")),
        (row("C536379", quantity="-1", price="0.0"), ReturnRow("C536379", "85123A", 1, "17850")),
        (row(quantity="-10", price="0.0", customer=""), CorrectionRow("85123A", StockCommandKind.WRITE_OFF, 10)),
        (row(quantity="-10"), CorrectionRow("85123A", StockCommandKind.WRITE_OFF, 10)),
        (row(quantity="10", price="0.0", customer=""), CorrectionRow("85123A", StockCommandKind.FOUND, 10)),
        (row(quantity="1", price="0"), CorrectionRow("85123A", StockCommandKind.FOUND, 1)),
    ],
)
def test_rows_that_have_a_place(fields: list[str], meaning: RowMeaning) -> None:
    assert meaning_of(fields) == meaning


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ([], "no CSV"),
        (["1"], "1 columns, not 8"),
        ([*row(), "more"], "9 columns, not 8"),
        (row("A563185", "B", "1", price="11062.06"), "InvoiceNo A563185: a bad-debt"),
        (row("A563186", "B", "1", price="-11062.06"), "InvoiceNo A563186: a bad-debt"),
        (row(""), "InvoiceNo ''"),
        (row("c536379"), "InvoiceNo 'c536379'"),
        (row("٣"), "InvoiceNo"),
        (row("5" * 40), "InvoiceNo"),
        (row(product=" "), "StockCode ''"),
        (row(product="x" * 65), "StockCode"),
        (row(product="a\0b"), "StockCode"),
        (row(product="a\udcff"), "StockCode"),
        (row(quantity="0"), "Quantity 0"),
        (row(quantity="six"), "Quantity 'six'"),
        (row(quantity="1.0"), "Quantity '1.0'"),
        (row(quantity="1_0"), "Quantity '1_0'"),
        (row(quantity="1000000001"), "Quantity 1,000,000,001"),
        (row(price="-0.01"), "UnitPrice -0.01"),
        (row(price="nan"), "UnitPrice 'nan'"),
        (row(price="1e3"), "UnitPrice '1e3'"),
        (row(price="10000000.01"), "UnitPrice 10000000.01"),
        (row(quantity="1000000000", price="10000000"), "Quantity 1,000,000,000 x UnitPrice"),
        (row(at=""), "InvoiceDate ''"),
        (row(at="1969-12-31T23:59:59"), "InvoiceDate"),
        (row(at="2101-01-01T00:00:00"), "InvoiceDate"),
        (row(at="0001-01-01T00:00:00+14:00"), "InvoiceDate"),
        (row(customer="c" * 65), "CustomerID"),
        (row("C536379", quantity="1"), "Quantity 1 on credit note C536379"),
    ],
)
def test_rows_that_have_none_say_why(fields: list[str], detail: str) -> None:
    meaning = meaning_of(fields)
    assert isinstance(meaning, InvalidRow)
    assert meaning.detail.startswith(detail)
    meaning.detail.encode()  # it goes into a record


@pytest.mark.parametrize("code", ["POST", "DOT", "C2", "M", "m", "D", "B", "S", "PADS", "AMAZONFEE", "BANK CHARGES", "CRUK", "gift_0001_40"])
def test_services_lie_on_no_shelf(code: str) -> None:
    assert is_service(code)


@pytest.mark.parametrize("code", ["85123A", "85123a", "22423", "15056BL", "DCGS0003", "DCGSSBOY", "DCGS0066P"])
def test_goods_do(code: str) -> None:
    assert not is_service(code)
