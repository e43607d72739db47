"""The shapes that real peers send (spelling, structure, MIME), each of them seen in the wild."""

from __future__ import annotations

import codecs
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_mm7.exceptions import ProtocolError, UnknownOperation, XmlError
from airflow_provider_mm7.protocol import (
    MM7_NAMESPACE,
    SOAP_NAMESPACE,
    Address,
    AddressKind,
    ContentRef,
    DeliverReq,
    DeliverRsp,
    DeliveryReportReq,
    Fault,
    Part,
    ReadReplyReq,
    RSErrorRsp,
    Status,
    SubmitReq,
    SubmitRsp,
    describe,
    load,
)

RSP = (
    "<MM7Version>5.3.0</MM7Version><Status><StatusCode>1000</StatusCode><StatusText>Success</StatusText></Status>"
    "<MessageID>42</MessageID>"
)
EXPECTED = SubmitRsp(mm7_version="5.3.0", status=Status(status_code=1000, status_text="Success"), message_id="42")


def soap(body: str, header: str = "<TransactionID>t</TransactionID>") -> str:
    return f'<s:Envelope xmlns:s="{SOAP_NAMESPACE}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'


def message(text: str | bytes, content_type: str | None = "text/xml") -> Any:
    return load(text.encode() if isinstance(text, str) else text, content_type).message


@pytest.mark.parametrize(
    "text",
    [
        f"<SubmitRsp>{RSP}</SubmitRsp>",
        f'<SubmitRsp xmlns="{MM7_NAMESPACE}">{RSP}</SubmitRsp>',
        f'<SubmitRsp xmlns="urn:mm7">{RSP}</SubmitRsp>',
        soap(f"<SubmitRsp>{RSP}</SubmitRsp>"),
        soap(f'<q:SubmitRsp xmlns:q="urn:q">{RSP}</q:SubmitRsp>'),
        soap(f'<q:SubmitRsp xmlns:q="urn:q">{RSP.replace("<", "<q:").replace("<q:/", "</q:")}</q:SubmitRsp>'),
        f"<Envelope><Body><SubmitRsp>{RSP}</SubmitRsp></Body></Envelope>",
        f"<Body><SubmitRsp>{RSP}</SubmitRsp></Body>",
        f"\ufeff \r\n<?xml version='1.0'?><!-- a -->\n<?pi?><SubmitRsp><!-- a -->{RSP}<?pi?></SubmitRsp>\n\n",
        soap(
            f"<SubmitRsp>{RSP.replace('>', '>  ').replace('<Status>', '<Status >').replace('Success', '')}</SubmitRsp>"
        ).replace("<StatusText>  <", "<StatusText>Success<"),
        f"<SubmitRsp>{RSP.replace('42', chr(10) + '   42 ' + chr(10))}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('Success', chr(10) + '   Success' + chr(10))}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('<Status>', '').replace('</Status>', '')}</SubmitRsp>",
        f"<SubmitRsp><Unknown><StatusCode>4</StatusCode></Unknown>{RSP}<Other/></SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('Success', '<![CDATA[Succ]]>ess')}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('1000', '+1000')}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('1000', '000000001000')}</SubmitRsp>",
    ],
)
def test_namespaces_prefixes_and_wrappings(text: str) -> None:
    assert message(text) == EXPECTED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (soap(f"<SubmitRsp>{RSP}</SubmitRsp>", "<TransactionID>\n   a b \n</TransactionID>"), "a b"),
        (soap(f"<SubmitRsp>{RSP}</SubmitRsp>", "<x:TransactionID xmlns:x='u'>t</x:TransactionID>"), "t"),
        (soap(f"<SubmitRsp>{RSP}</SubmitRsp>", "<Other/><TransactionID/>"), None),
        (soap(f"<SubmitRsp>{RSP}</SubmitRsp>", ""), None),
        (f"<SubmitRsp><TransactionID>t</TransactionID>{RSP}</SubmitRsp>", "t"),
        (f"<Envelope><TransactionID>t</TransactionID><Body><SubmitRsp>{RSP}</SubmitRsp></Body></Envelope>", "t"),
        (f"<Envelope><Body><TransactionID>t</TransactionID><SubmitRsp>{RSP}</SubmitRsp></Body></Envelope>", "t"),
    ],
)
def test_transaction_ids(text: str, expected: str | None) -> None:
    assert load(text.encode(), None).transaction_id == expected


def test_the_namespaces_are_kept_for_the_answer_where_they_can_be_used() -> None:
    def dialect(text: str) -> tuple[str, str]:
        found = load(text.encode(), None).dialect
        return found.soap_namespace, found.mm7_namespace

    assert dialect(f'<SubmitRsp xmlns="urn:mm7">{RSP}</SubmitRsp>') == (SOAP_NAMESPACE, "urn:mm7")
    assert dialect(f'<e:Envelope xmlns:e="urn:soap"><e:Body><SubmitRsp>{RSP}</SubmitRsp></e:Body></e:Envelope>') == (
        "urn:soap",
        MM7_NAMESPACE,
    )
    header = '<TransactionID xmlns="urn:tid">1</TransactionID>'
    assert dialect(soap(f"<SubmitRsp>{RSP}</SubmitRsp>", header)) == (SOAP_NAMESPACE, "urn:tid")
    # lxml reads a name that is no URI where it reads one that is relative after it.
    body = f'<SubmitRsp xmlns="relative">{RSP}</SubmitRsp>'
    assert dialect(f'<e:Envelope xmlns:e="urn:%zz"><e:Body>{body}</e:Body></e:Envelope>') == (
        SOAP_NAMESPACE,
        "relative",
    )
    assert dialect(f"<x:SubmitRsp>{RSP}</x:SubmitRsp>") == (SOAP_NAMESPACE, MM7_NAMESPACE)


@pytest.mark.parametrize(
    "text",
    [
        f"<x:SubmitRsp>{RSP}</x:SubmitRsp>",
        f'<s:Envelope><s:Header/><s:Body a:b="1"><x:SubmitRsp>{RSP}</x:SubmitRsp></s:Body></s:Envelope>',
        f'<s::Envelope xmlns:o="{SOAP_NAMESPACE}"><s:Body><SubmitRsp>{RSP}</SubmitRsp></s::Body></s:Envelope>',
        soap(f"<h:SubmitRsp>{RSP}</h:SubmitRsp>", "<h:TransactionID xmlns:h='urn:h'>t</h:TransactionID>"),
        f"<!-- a::b --><x:SubmitRsp><!-- <a::b> -->{RSP}</x:SubmitRsp>",
    ],
)
def test_undeclared_prefixes_and_double_colons_are_repaired(text: str) -> None:
    assert message(text) == EXPECTED


def test_a_repair_leaves_texts_alone() -> None:
    text = "<x:SubmitRsp>" + RSP.replace("Success", "<![CDATA[<a::b c:d='1'>]]> a::b q:r") + "</x:SubmitRsp>"
    assert message(text).status.status_text == "<a::b c:d='1'> a::b q:r"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fish & chips", "Fish & chips"),
        ("&", "&"),
        ("a&&b&", "a&&b&"),
        ("a &amp; b & c", "a & b & c"),
        ("x &lt; y & y &gt; z", "x < y & y > z"),
        ("&quot;R&D&apos;", "\"R&D'"),
        ("A&nbsp;B", "A&nbsp;B"),
        ("&eacute;&AMP;&amp", "&eacute;&AMP;&amp"),
        ("&#65;&#x42; & &#;&#x;&#X43;&# 68;", "AB & &#;&#x;&#X43;&# 68;"),
        ("&#60;b&#x3e; &", "<b> &"),
        ("1 < 2 << 3 <= 4", "1 < 2 << 3 <= 4"),
        ("I <3 you, </3 <", "I <3 you, </3 <"),
        ("a & b <![CDATA[&#1; & < &x;]]> <!-- & < --> <?p & < ?>", "a & b &#1; & < &x;  "),
        # Characters as two surrogates.
        ("&#55357;&#56832;", "\U0001f600"),
        ("&#xD83D;&#xde00;!", "\U0001f600!"),
        ("&#xd83d;&#56832;&#055356;&#x0DF0D;", "\U0001f600\U0001f30d"),
        ("&#55357;", "\ufffd"),
        ("&#56832;&#55357;.", "\ufffd\ufffd."),
        ("&#55357; &#56832;", "\ufffd \ufffd"),
        ("&#55357;&#55357;&#56832;", "\ufffd\U0001f600"),
        ("<![CDATA[&#55357;&#56832;]]> &#55357;", "&#55357;&#56832; \ufffd"),
        # Characters that XML cannot hold.
        ("a&#0;b&#1;c&#xB;d&#xFFFE;", "a\ufffdb\ufffdc\ufffdd\ufffd"),
        ("&#x110000;&#1114112;&#99999999999999999999;&#x99999999999;", "\ufffd" * 4),
        (f"&#{'0' * 40}; &#{'0' * 40}65; &#{'9' * 5000};", "\ufffd A \ufffd"),
        ("&#1114111;&#x85;&#1;", "\U0010ffff\x85\ufffd"),
        ("a\x00b\x01c\x1fd\ufffee", "a\ufffdb\ufffdc\ufffdd\ufffde"),
        ("<![CDATA[a\x08b]]>", "a\ufffdb"),
    ],
)
def test_texts_that_are_not_escaped(text: str, expected: str) -> None:
    read = message(f"<SubmitReq><Subject>{text}</Subject><LinkedID>1</LinkedID></SubmitReq>")
    assert (read.subject, read.linked_id) == (expected, "1")


def test_attributes_that_are_not_escaped() -> None:
    read = message("<DeliverReq><Content href='cid:a&b&#1;'/></DeliverReq>")
    assert [one.href for one in read.contents] == ["cid:a&b\ufffd"]


def test_texts_and_tags_are_repaired_in_one_document() -> None:
    text = f"<x::SubmitRsp><y:Extension z:a='&'/>{RSP.replace('Success', 'R&D <3')}</x:SubmitRsp>"
    assert message(text).status.status_text == "R&D <3"


def test_a_text_that_is_escaped_is_read_as_it_stands() -> None:
    """A repair must not touch what needs none: escaped twice is escaped once."""
    text = "&amp;nbsp; &amp;#55357; &#38;lt;"
    assert message(f"<SubmitReq><Subject>{text}</Subject></SubmitReq>").subject == "&nbsp; &#55357; &lt;"
    assert message(f"<x:SubmitReq><Subject>{text}</Subject></x:SubmitReq>").subject == "&nbsp; &#55357; &lt;"


@pytest.mark.parametrize("end", ["\0", "\0\0\0", " \r\n\0", "\0\n\t \0\n"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "utf-16-be", "utf-16"])
def test_zeros_after_the_end(end: str, codec: str) -> None:
    assert message(f"<SubmitRsp>{RSP}</SubmitRsp>{end}".encode(codec)) == EXPECTED


@pytest.mark.parametrize("end", ["\0x", "\0<a/>", "&", "<"])
def test_nothing_else_may_stand_after_the_end(end: str) -> None:
    with pytest.raises(XmlError):
        message(f"<SubmitRsp>{RSP}</SubmitRsp>{end}")


def test_a_prefix_declared_elsewhere_keeps_its_namespace() -> None:
    header = "<h:TransactionID xmlns:h='urn:h'>t</h:TransactionID>"
    assert load(soap(f"<h:SubmitRsp>{RSP}</h:SubmitRsp>", header).encode(), None).dialect.mm7_namespace == "urn:h"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "\x00",
        "hello",
        "<",
        "<a",
        "<SubmitRsp>",
        f"<SubmitRsp>{RSP}",
        f"<SubmitRsp>{RSP}</SubmitRs>",
        f"<x:SubmitRsp>{RSP}</y:SubmitRsp>",
        f"<x:SubmitRsp>{RSP}",
        f"<SubmitRsp>{RSP.replace('1000', '1000<')}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('Success', '&')}",
        f"<SubmitRsp>{RSP.replace('Success', '<3')}</SubmitRs",
        f"<SubmitRsp>{RSP.replace('Success', '&')}</SubmitRsp",
        f"<SubmitRsp>{RSP.replace('Success', '&')}</",
        f"<SubmitRsp>{RSP.replace('Success', '&')}<",
        f"<SubmitRsp>{RSP.replace('Success', '&')}< /SubmitRsp>",
        f"& <SubmitRsp>{RSP}</SubmitRsp>",
        f"<SubmitRsp>{RSP}</SubmitRsp> &#1;",
        f"<SubmitRsp>{RSP.replace('Success', '<a@b.example>')}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('Success', '&<![CDATA[')}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('Success', '&<!--')}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('Success', '<? &')}</SubmitRsp>",
        f"<SubmitRsp>{RSP}</SubmitRsp><SubmitRsp/>",
        f"<SubmitRsp>{RSP}</SubmitRsp> and more",
        "".join(f"<p{i}:a>" for i in range(9)) + "".join(f"</p{i}:a>" for i in reversed(range(9))),
        f"<!DOCTYPE SubmitRsp><SubmitRsp>{RSP}</SubmitRsp>",
        f"<?xml version='1.0'?><!-- a --><!DOCTYPE a SYSTEM 'file:///etc/passwd'><SubmitRsp>{RSP}</SubmitRsp>",
        f"<!DOCTYPE a [<!ENTITY b 'c'>]><SubmitRsp>{RSP.replace('Success', '& &b;')}</SubmitRsp>",
        f"\x01<!DOCTYPE a [<!ENTITY b 'c'>]><SubmitRsp>{RSP.replace('Success', '&b;')}</SubmitRsp>",
        f"<?a \x01?><!DOCTYPE a [<!ENTITY b 'c'>]><SubmitRsp>{RSP.replace('Success', '&b;')}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('Success', '& <!DOCTYPE a>')}</SubmitRsp>",
        "<SubmitRsp/>",
        f"<SubmitRsp>{RSP.replace('1000', 'OK')}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('1000', '')}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('1000', '-1000')}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('1000', '+')}</SubmitRsp>",
        f"<SubmitRsp>{RSP.replace('1000', '+-1000')}</SubmitRsp>",
        "<DeliveryReportReq><MMStatus>Retrieved</MMStatus></DeliveryReportReq>",
        "<DeliveryReportReq><MessageID> </MessageID></DeliveryReportReq>",
        "<SubmitRsp xml:space='x' a='1' a='2'/>",
        "<1:SubmitRsp/>",
    ],
)
def test_what_cannot_be_read_is_an_xml_error(text: str) -> None:
    with pytest.raises(XmlError):
        message(text)


@pytest.mark.parametrize(
    "text", ["<html/>", soap("<extendedCancelReq/>"), soap(""), "<a><SubmitRsp/></a>", "<x:Envelope/>"]
)
def test_xml_that_is_not_mm7(text: str) -> None:
    with pytest.raises(UnknownOperation):
        message(text)


def test_a_doctype_within_a_text_is_text() -> None:
    text = RSP.replace("Success", "<![CDATA[<!DOCTYPE html>]]>")
    assert message(f"<SubmitRsp>{text}</SubmitRsp>").status.status_text == "<!DOCTYPE html>"


@pytest.mark.parametrize(
    ("declared", "codec", "subject"),
    [
        ("GB2312", "gb2312", "土星新闻"),
        ("gb2312", "gb18030", "土星𠀀"),
        ("EUC-KR", "euc_kr", "토성 소식"),
        ("ks_c_5601-1987", "cp949", "토성 펲"),
        ("Shift_JIS", "cp932", "土星①"),
        ("Big5", "big5", "土星新聞"),
        ("cp932", "cp932", "土星①"),
        ("Windows-31J", "cp932", "土星①"),
        ("windows-874", "cp874", "ดาวเสาร์"),
        ("ISO-2022-JP", "iso2022_jp", "土星"),
        ("KOI8-U", "koi8-u", "Сатурн їде"),
        ("TIS-620", "tis-620", "ดาวเสาร์"),
        ("cp874", "cp874", "ดาวเสาร์"),
        ("ISO-8859-1", "latin-1", "Grüße"),
        ("ISO-8859-1", "cp1252", "5 € „Grüße…“"),
        ("iso-8859-1", "latin-1", "Gr\x81\x9d\x80ße"),
        ("latin1", "cp1252", "5 €"),
        ("iso-8859-15", "iso8859-15", "5 €"),
        ("windows-1252", "cp1252", "5 €"),
        ("UTF-8", "utf-8", "Grüße 🪐"),
        ("US-ASCII", "utf-8", "Grüße 🪐"),
        # Declared wrongly.
        ("UTF-8", "latin-1", "Grüße"),
        ("UTF-16", "utf-8", "Grüße"),
        ("x-unknown", "utf-8", "Grüße"),
        ("punycode", "utf-8", "Grüße"),
        ("EUC-KR", "latin-1", "café!"),
    ],
)
def test_encodings(declared: str, codec: str, subject: str) -> None:
    body = f"<SubmitReq><Subject>{subject}</Subject></SubmitReq>"
    assert message(f'<?xml version="1.0" encoding="{declared}"?>{body}'.encode(codec)).subject == subject
    if codec != "utf-8" or declared == "UTF-8":
        assert message(body.encode(codec), f"text/xml; charset={declared}").subject == subject


@pytest.mark.parametrize(
    ("declared", "charset", "codec"),
    [
        ("UTF-8", "gb2312", "gb2312"),
        ("UTF-8", "gb2312", "utf-8"),
        ("GB2312", "utf-8", "utf-8"),
        ("GB2312", "utf-8", "gb2312"),
        ("GB2312", "iso-8859-1", "gb2312"),
        ("x-unknown", "gb2312", "gb2312"),
    ],
)
def test_encodings_where_declaration_and_content_type_differ(declared: str, charset: str, codec: str) -> None:
    body = f'<?xml version="1.0" encoding="{declared}"?><SubmitReq><Subject>土星新闻</Subject></SubmitReq>'
    assert message(body.encode(codec), f"text/xml; charset={charset}").subject == "土星新闻"


@pytest.mark.parametrize(
    ("mark", "codec"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
    ],
)
@pytest.mark.parametrize("declaration", ["", '<?xml version="1.0" encoding="UTF-16"?>', "<?xml version='1.0'?>"])
def test_byte_order_marks(mark: bytes, codec: str, declaration: str) -> None:
    body = mark + f"{declaration}<SubmitReq><Subject>Grüße</Subject></SubmitReq>".encode(codec)
    assert message(body).subject == "Grüße"


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("declared", ["UTF-8", "us-ascii", None])
@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Tēnā koe ".encode() + b"\xff!", "Tēnā koe \ufffd!"),
        # Cut off within a character, by somebody who counts bytes.
        ("土星新闻".encode()[:-1], "土星新\ufffd"),
        (b"\xc3\xbcber " + "Grüße".encode("latin-1"), "über Gr\ufffd\ufffde"),
        # CESU-8, alone and beside a wrong byte.
        (b"Saturn \xed\xa0\xbe\xed\xba\x90", "Saturn \U0001fa90"),
        (b"\xed\xa0\xbd\xed\xb8\x80\xed\xa0\xbd\xed\xb8\x81\xfe", "\U0001f600\U0001f601\ufffd"),
        ("ū".encode() + b"\xed\xa0\xbd", "ū\ufffd\ufffd\ufffd"),
    ],
)
def test_one_wrong_byte_spoils_one_character(mark: bytes, declared: str | None, subject: bytes, expected: str) -> None:
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    body = mark + declaration.encode() + b"<SubmitReq><Subject>" + subject + b"</Subject></SubmitReq>"
    assert message(body).subject == expected


@pytest.mark.parametrize(
    ("subject", "expected"),
    [(b"5 \x80 f\xfcr Gr\xfc\xdfe", "5 € für Grüße"), (b"f\xfcr \x81", "für \x81"), (b"\xef\xbf\xbd\xfc", "ï¿½ü")],
)
def test_what_holds_no_whole_character_is_not_utf_8(subject: bytes, expected: str) -> None:
    assert message(b"<SubmitReq><Subject>" + subject + b"</Subject></SubmitReq>").subject == expected


def test_a_document_that_breaks_its_byte_order_mark_is_refused() -> None:
    with pytest.raises(XmlError, match="utf-16-le"):
        message(codecs.BOM_UTF16_LE + b"<a/>x\n\xd8")
    with pytest.raises(XmlError):
        message(b"\xef\xbb\xbf<SubmitReq><Subject>\xff</Subject></SubmitReq>")


def report(inside: str) -> DeliveryReportReq:
    read = message(f"<DeliveryReportReq>{inside}<MessageID>1</MessageID></DeliveryReportReq>")
    assert isinstance(read, DeliveryReportReq)
    return read


NUMBER = "<Number>+4917</Number>"


@pytest.mark.parametrize(
    "inside",
    [
        f"<Recipient>{NUMBER}</Recipient>",
        f"<Recipients>{NUMBER}</Recipients>",
        f"<Recipients><To>{NUMBER}</To></Recipients>",
        f"<Recipients><Number>1</Number></Recipients><Recipient>{NUMBER}</Recipient>",
        "<Recipients><To>+4917</To></Recipients>",
        "<Recipient>\n<To> +4917 </To>\n</Recipient>",
        "<Recipient>+4917</Recipient>",
        "<Recipient>\n +4917 \n</Recipient>",
        "<Recipient><Number> +4917\n</Number></Recipient>",
        f"<Recipient><Number/>{NUMBER}</Recipient>",
    ],
)
def test_recipients_of_reports(inside: str) -> None:
    assert report(inside).recipient == Address(value="+4917")


@pytest.mark.parametrize(
    ("inside", "kind", "value", "plain"),
    [
        ("<Number>+4917/TYPE=PLMN</Number>", AddressKind.NUMBER, "+4917/TYPE=PLMN", "+4917"),
        ("<Number>+4917/TYPE=PLMN@h.example</Number>", AddressKind.NUMBER, "+4917/TYPE=PLMN@h.example", "+4917"),
        ("+4917/type=plmn@h.example", AddressKind.NUMBER, "+4917/type=plmn@h.example", "+4917"),
        ("+4917/TYPE=PLMN@h.example", AddressKind.NUMBER, "+4917/TYPE=PLMN@h.example", "+4917"),
        ("a@b.example", AddressKind.RFC2822, "a@b.example", "a@b.example"),
        ("<RFC2822Address>4917/TYPE=PLMN</RFC2822Address>", AddressKind.RFC2822, "4917/TYPE=PLMN", "4917"),
        ("<m:ShortCode xmlns:m='u'>1111</m:ShortCode>", AddressKind.SHORT_CODE, "1111", "1111"),
        ("<Number>tel:+4917</Number>", AddressKind.NUMBER, "tel:+4917", "+4917"),
        ("tel:+49-17;ext=1", AddressKind.NUMBER, "tel:+49-17;ext=1", "+4917"),
        ("mailto:a@b.example", AddressKind.RFC2822, "mailto:a@b.example", "a@b.example"),
    ],
)
def test_senders(inside: str, kind: AddressKind, value: str, plain: str) -> None:
    sender = message(f"<DeliverReq><Sender>{inside}</Sender></DeliverReq>").sender
    assert sender == Address(value=value, kind=kind)
    assert sender.plain == plain


@pytest.mark.parametrize("inside", ["", "<Sender/>", "<Sender> </Sender>", "<Sender><Number/></Sender>"])
def test_no_sender(inside: str) -> None:
    assert message(f"<DeliverReq>{inside}</DeliverReq>").sender is None


@pytest.mark.parametrize(
    ("inside", "to", "cc"),
    [
        ("<Recipients><To>+1</To><To><Number>2</Number></To><Cc>3</Cc></Recipients>", ["+1", "2"], ["3"]),
        ("<Recipients><Number>1</Number><ShortCode>2</ShortCode></Recipients>", ["1", "2"], []),
        ("<Recipients>1</Recipients>", ["1"], []),
        ("<Recipient><Number>1</Number></Recipient>", ["1"], []),
        ("<Recipients><Cc><Number>1</Number></Cc><Number>2</Number></Recipients>", ["2"], ["1"]),
        ("<Recipients><To/></Recipients>", [], []),
        ("<Recipients/>", [], []),
    ],
)
def test_recipients_of_messages(inside: str, to: list[str], cc: list[str]) -> None:
    recipients = message(f"<DeliverReq>{inside}</DeliverReq>").recipients
    assert [address.value for address in recipients.to] == to
    assert [address.value for address in recipients.cc] == cc


def test_address_attributes() -> None:
    inside = "<Number displayOnly='1' addressCoding='encrypted' id='x'>1</Number><Number m:displayOnly='no'>2</Number>"
    found = message(f"<DeliverReq xmlns:m='u'><Recipients><To>{inside}</To></Recipients></DeliverReq>").recipients.to
    assert found == (
        Address(value="1", display_only=True, address_coding="encrypted", id="x"),
        Address(value="2"),
    )


def test_reports_with_reversed_order_and_missing_elements() -> None:
    assert report("<Sender><Number>49</Number></Sender><Recipient>1</Recipient>") == DeliveryReportReq(
        message_id="1", sender=Address(value="49"), recipient=Address(value="1")
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<Date>2015-03-16T14:03:51Z</Date>", datetime(2015, 3, 16, 14, 3, 51, tzinfo=UTC)),
        ("<TimeStamp>2015-03-16T14:03:51Z</TimeStamp>", datetime(2015, 3, 16, 14, 3, 51, tzinfo=UTC)),
        (
            "<TimeStamp>2000-01-01T00:00:00Z</TimeStamp><Date>2015-3-6T4:3:1</Date>",
            datetime(2015, 3, 6, 4, 3, 1, tzinfo=UTC),
        ),
        ("<Date>yesterday</Date>", None),
        ("", None),
    ],
)
def test_dates_of_reports(text: str, expected: datetime | None) -> None:
    assert report(text).date == expected
    read = message(f"<ReadReplyReq>{text}<MessageID>1</MessageID></ReadReplyReq>")
    if "TimeStamp" not in text:
        assert isinstance(read, ReadReplyReq)
        assert read.timestamp == expected


def test_content_references() -> None:
    inside = (
        "<Content href='cid: x'/><Content href='y'/><m:Content m:href='cid:z' m:allowAdaptations='false'/>"
        "<Content/><Content href=''/><AdditionalInformation m:href='a'/><AdditionalInformation/>"
    )
    read = message(f"<DeliverReq xmlns:m='u'>{inside}</DeliverReq>")
    assert isinstance(read, DeliverReq)
    assert [reference.href for reference in read.contents] == ["cid: x", "y", "cid:z"]
    assert [reference.allow_adaptations for reference in read.contents] == [True, True, False]
    assert read.additional_information == ("a",)


@pytest.mark.parametrize(
    "declared",
    ['="http://www.w3.org/2001/XMLSchema-instance"', '="https://www.w3.org/2001/XMLSchema-instance"', ""],
)
@pytest.mark.parametrize(("own", "expected"), [("", None), ("type='TEXT'", "TEXT")])
def test_the_schema_type_that_toolkits_write_is_no_content_type(declared: str, own: str, expected: str | None) -> None:
    inside = f"<Content {own} xsi:type='contentReferenceType' href='cid:x'/>"
    root = f"DeliverReq xmlns:xsi{declared}" if declared else "DeliverReq"
    assert message(f"<{root}>{inside}</DeliverReq>").contents == (ContentRef(href="cid:x", type=expected),)


def test_what_peers_leave_empty_is_absent() -> None:
    read = message(
        "<SubmitReq><LinkedID/><Priority> </Priority><DeliveryReport>maybe</DeliveryReport><DeliveryReport>true"
        "</DeliveryReport><ReplyCharging replyChargingSize='x'/><PreferredChannels><DeliverUsing/><Other/>"
        "</PreferredChannels><ExpiryDate>P1W</ExpiryDate><Extension/><Subject/></SubmitReq>"
    )
    assert isinstance(read, SubmitReq)
    assert (read.linked_id, read.priority, read.delivery_report) == (None, None, True)
    assert (read.reply_charging and read.reply_charging.size, read.preferred_channels) == (None, ())
    assert (read.expiry and str(read.expiry), read.subject) == ("7 days, 0:00:00", "")
    assert read.extensions == ("<Extension></Extension>",)


def test_an_extension_with_a_namespace_that_has_no_canonical_form_is_kept() -> None:
    read = message("<SubmitReq><Extension xmlns='u'><a/></Extension> tail</SubmitReq>")
    assert read.extensions == ('<Extension xmlns="u"><a/></Extension>',)


def test_previously_sent_by_without_address_or_sequence() -> None:
    inside = "<UserAgent sequence='1'/><UserAgent sequence='x'><Number>1</Number></UserAgent>"
    read = message(f"<DeliverReq><Previouslysentby>{inside}</Previouslysentby></DeliverReq>")
    assert read.previously_sent_by == ((None, Address(value="1")),)


def test_unknown_values_keep_their_spelling() -> None:
    assert report("<MMStatus> Third:User Retrieved </MMStatus>").mm_status == "Third:User Retrieved"
    assert message("<SubmitReq><Priority>urgent</Priority></SubmitReq>").priority == "urgent"


def test_sender_identification_may_be_flat() -> None:
    read = message("<SubmitReq><VASPID>TNN</VASPID><VASID>News</VASID></SubmitReq>")
    assert (read.sender_identification.vasp_id, read.sender_identification.vas_id) == ("TNN", "News")


def test_details_are_text_with_white_space_folded() -> None:
    status = "<Status><StatusCode>1100</StatusCode><Details>\n <a>+64 </a>\n<b>21</b> x</Details></Status>"
    assert message(f"<SubmitRsp>{status}</SubmitRsp>").status == Status(status_code=1100, details="+64 21 x")
    assert message(f"<DeliverRsp>{status.replace('+64', '').replace('21', '').replace('x', '')}</DeliverRsp>") == (
        DeliverRsp(status=Status(status_code=1100))
    )


def test_faults() -> None:
    inner = "<RSErrorRsp><StatusCode>4001</StatusCode></RSErrorRsp>"
    detail = f"<f:Fault><faultcode>s:Client</faultcode><faultstring>no</faultstring><detail>{inner}</detail></f:Fault>"
    assert message(soap(detail)) == RSErrorRsp(status=Status(status_code=4001))
    bare = "<Fault><faultcode>s:Server</faultcode><faultstring> a\n b</faultstring>"
    bare += "<detail><x>1</x><y>2</y></detail></Fault>"
    assert message(soap(bare)) == Fault(fault_code="s:Server", fault_string="a b", detail="1 2")
    newer = "<Fault><Code><Value>s:Sender</Value></Code><Reason><Text>no</Text></Reason><Detail/></Fault>"
    assert message(soap(newer)) == Fault(fault_code="s:Sender", fault_string="no")
    assert message(soap("<Fault/>")) == Fault()
    namespaced = load(soap(f"<Fault xmlns='{SOAP_NAMESPACE}'/>").encode(), None)
    assert namespaced.dialect.mm7_namespace == MM7_NAMESPACE


QUOTED = "<q><SubmitReq><TransactionID>t</TransactionID></SubmitReq><CancelReq/></q>"


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        (QUOTED, Fault(fault_code="s:Server", fault_string="no", detail="t")),
        (f"{QUOTED}<SubmitRsp>{RSP}</SubmitRsp>", EXPECTED),
        (
            f"{QUOTED}<SubmitRsp>{RSP}</SubmitRsp><RSErrorRsp><StatusCode>4004</StatusCode></RSErrorRsp>",
            RSErrorRsp(status=Status(status_code=4004)),
        ),
        ("<RSErrorRsp/>", Fault(fault_code="s:Server", fault_string="no")),
        (
            "<RSErrorRsp><Status>down</Status></RSErrorRsp>",
            Fault(fault_code="s:Server", fault_string="no", detail="down"),
        ),
    ],
)
def test_a_fault_speaks_by_an_answer_with_a_status_and_never_by_a_request_that_it_quotes(
    detail: str, expected: Any
) -> None:
    text = f"<Fault><faultcode>s:Server</faultcode><faultstring>no</faultstring><detail>{detail}</detail></Fault>"
    assert message(soap(text)) == expected


XML = f"<SubmitRsp>{RSP}</SubmitRsp>"


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        ('multipart/related; type="text/xml"; boundary=b', "--b\n\nXML\n--b\n\nMEDIA\n--b--"),
        (
            "multipart/related; type=text/xml; boundary=b",
            "preamble\n\n--b\nContent-ID: <r>\n\nXML\n--b\n\nMEDIA\n--b--",
        ),
        ("multipart/related; start=r; boundary=b", "\n--b\n\nMEDIA\n--b\nContent-ID: <r>\n\nXML\n--b--\nepilogue"),
        ("multipart/related; start=<r>; boundary=b", "--b\nContent-Id:r\n\nXML\n--b\n\nMEDIA\n--b--"),
        ('multipart/related; start="nothing"; boundary=b', "--b\n\nXML\n--b\n\nMEDIA\n--b--"),
        ('multipart/related; start=""; boundary=b', "--b\n\nMEDIA\n--b\nContent-Type: text/xml\n\nXML\n--b--"),
        ("multipart/related; boundary*0=a; boundary*1=b", "--ab\n\nXML\n--ab\n\nMEDIA\n--ab--"),
        ('multipart/related; boundary="a b c"', "--a b c\n\nXML\n--a b c\n\nMEDIA\n--a b c--"),
        ("multipart/related; boundary=a b c; start=x", "--a b c\n\nXML\n--a b c\n\nMEDIA\n--a b c--"),
        ("multipart/related; boundary=--b", "----b\n\nXML\n----b\n\nMEDIA\n----b--"),
        ("multipart/related; boundary=--b", "--b\n\nXML\n--b\n\nMEDIA\n--b--"),
        ("multipart/related; boundary=wrong", "preamble\n--b \n\nXML\n--b\n\nMEDIA\n--b--"),
        ("multipart/related", "--b\n\nXML\n--b\n\nMEDIA\n--b--"),
        ("text/xml", "--b\n\nXML\n--b\n\nMEDIA\n--b--"),
        (None, "\n--b\n\nXML\n--b\n\nMEDIA\n--b--"),
        ("multipart/related; boundary=b", "--b  \n\nXML\n--b\t\n\nMEDIA\n--b--  \n"),
        ("multipart/related; boundary=b", "--b\n\nXML\n--bb\n--b\n\nMEDIA\n--b--".replace("\n--bb", "")),
        ("multipart/related; boundary=b", "--b\nContent-Type:text/xml\n \nXML\n--b\n \nMEDIA\n--b--"),
        ("multipart/related; boundary=b", "--b\nContent-Type:\n text/xml\n\nXML\n--b\n\t\nMEDIA\n--b--"),
        ("multipart/related; boundary=b", "--b\nContent-Type: text/xml\n \nContent-ID: r\n\nXML\n--b\n\nMEDIA\n--b--"),
        ("multipart/related; boundary=b", "--b\nContent-Type: text/xml\nXML\n--b\n\nMEDIA\n--b--"),
        ("multipart/related; boundary=b", "--b\nXML\n--b\nContent-Type: text/plain\n\nMEDIA\n--b--"),
        (None, "preamble\n--b\n\nXML\n--b\n\nMEDIA\n--b--"),
        (
            "Multipart/Related; Boundary=b",
            "--b\nCONTENT-TYPE: TEXT/XML\nContent-transfer-encoding: BASE64\n\nXMLBASE64\n--b\n\nMEDIA\n--b--",
        ),
    ],
)
def test_multiparts(content_type: str | None, text: str, newline: str) -> None:
    encoded = codecs.encode(XML.encode(), "base64").decode()
    body = text.replace("\n", newline).replace("XMLBASE64", encoded).replace("XML", XML).replace("MEDIA", "science")
    envelope = load(body.encode(), content_type)
    assert envelope.message == EXPECTED
    assert [part.body for part in envelope.parts] == [b"science"]


@pytest.mark.parametrize("start", ["r", "<r>", '\\"<r', '\\"<r>\\"', "cid:r", "<cid:r>", " cid:<r> "])
@pytest.mark.parametrize("content_id", ["r", "<r>", '"<r', '"<r>"', '"r', "cid:r", "<cid:r>"])
def test_start_and_content_id_are_compared_by_what_they_name(start: str, content_id: str) -> None:
    other, root = XML.replace("42", "43"), f"Content-ID: {content_id}\n\n{XML}"
    body = f"--b\nContent-ID: <s>\n\n{other}\n--b\n{root}\n--b--"
    assert message(body, f'multipart/related; start="{start}"; boundary=b') == EXPECTED


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
@pytest.mark.parametrize("content_type", ["multipart/related; boundary=b", "multipart/related", "text/xml", None])
@pytest.mark.parametrize("before", ["", "\n", "preamble\n"])
def test_a_byte_order_mark_before_a_multipart(content_type: str | None, newline: str, before: str) -> None:
    text = f"{before}--b\nContent-Type: text/xml\n\n{XML}\n--b\n\nscience\n--b--".replace("\n", newline)
    envelope = load(codecs.BOM_UTF8 + text.encode(), content_type)
    assert envelope.message == EXPECTED
    assert [part.body for part in envelope.parts] == [b"science"]


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_the_root_is_found_in_any_encoding(codec: str, newline: bytes) -> None:
    smil, root = b"<smil/>", soap(XML).encode(codec)
    pieces = (b"--b", b"", smil, b"--b", b"", root, b"--b--")
    envelope = load(newline.join(pieces), "multipart/related; boundary=b")
    assert envelope.message == EXPECTED
    assert [part.body for part in envelope.parts] == [smil]


@pytest.mark.parametrize("headers", ["", "Content-Type: text/xml\n"])
def test_a_root_with_a_prefix_is_no_header(headers: str) -> None:
    body = f"--b\n{headers}{soap(XML)}\n--b\n\nscience\n--b--"
    assert message(body, "multipart/related; boundary=b") == EXPECTED


@pytest.mark.parametrize(
    ("start", "headers", "body"),
    [
        ("", "Content-Type: text/xml", "<smil><body/></smil>"),
        ("", "Content-Type: application/smil+xml", "<smil/>"),
        ("", "Content-Type: text/html", "<html/>"),
        ("x", "Content-ID: <x>\nContent-Type: application/smil", "<smil/>"),
        ("x", "Content-ID: <x>\nContent-Type: image/gif", "GIF"),
    ],
)
@pytest.mark.parametrize("text", [XML, soap(XML), f"<!-- a -->\n{soap(XML).replace('<s:Body', '<s::Body')}"])
def test_the_root_is_the_part_that_speaks_of_mm7(start: str, headers: str, body: str, text: str) -> None:
    both = f"--b\n{headers}\n\n{body}\n--b\nContent-Type: text/plain\n\n{text}\n--b--"
    envelope = load(both.encode(), f'multipart/related; start="{start}"; boundary=b')
    assert envelope.message == EXPECTED
    assert [part.body for part in envelope.parts] == [body.encode()]


@pytest.mark.parametrize("content_type", ["multipart/related; boundary=b", "multipart/related"])
def test_a_multipart_in_name_only_is_xml(content_type: str) -> None:
    assert message(f"<!-- a -->{XML}", content_type) == EXPECTED


def test_preamble_that_looks_like_xml_in_a_multipart() -> None:
    assert message(f"<preamble>\n--b\n\n{XML}\n--b--", "multipart/related; boundary=b") == EXPECTED


def entity(headers: str, body: bytes) -> Part:
    head = f"--b\n\n{XML}\n--b\n{headers}\n\n".encode()
    (part,) = load(head + body + b"\n--b--", "multipart/related; boundary=b").parts
    return part


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ("Content-Type: image/gif", b"\0\r\n\xff--b\n--bc\n", b"\0\r\n\xff--b\n--bc\n"),
        ("Content-Transfer-Encoding: binary", b"\0\r\xff", b"\0\r\xff"),
        ("Content-Transfer-Encoding: 8bit", b"\xff\xfe", b"\xff\xfe"),
        ("Content-Transfer-Encoding: 7bit", b"abc", b"abc"),
        ("Content-Transfer-Encoding: unknown", b"abc", b"abc"),
        ("Content-Transfer-Encoding: quoted-printable", b"a=3Db=\r\nc =20\r\n", b"a=bc  \r\n"),
        ("Content-Transfer-Encoding: Base64 ; x", b"QUJD\r\nREU=\r\n", b"ABCDE"),
        ('Content-Transfer-Encoding: "base64"', b"QUJD", b"ABC"),
        ("Content-Transfer-Encoding: BASE64 (MIME)", b"QUJD", b"ABC"),
        ("Content-Transfer-Encoding: (none)", b"QUJD", b"QUJD"),
        ("Content-Transfer-Encoding: base64", b"QUJDREU", b"ABCDE"),
        ("Content-Transfer-Encoding: base64", b"QUI=\r\nQ0Q=", b"ABCD"),
        ("Content-Transfer-Encoding: base64", b"QU\xffJD\n...\n", b"ABC"),
        ("Content-Transfer-Encoding: base64", b"", b""),
    ],
)
def test_transfer_encodings(headers: str, body: bytes, expected: bytes) -> None:
    assert entity(headers, body).body == expected


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
@pytest.mark.parametrize("end", [b"", b"\r", b"\n", b"\r\n", b"\r\r", b"\n\r", b"\n\n"])
def test_media_keep_their_last_bytes_whatever_breaks_the_lines(end: bytes, newline: bytes) -> None:
    """Only the line break before a delimiter belongs to it (RFC 2046 section 5.1.1), in whichever way it is written."""
    picture = b"GIF89a\0" + end
    headers = (b"", XML.encode()), (b"Content-Type: image/gif", picture), (b"Content-Type: image/gif", picture)
    pieces = [b"--b" + newline + (head and head + newline) + newline + body + newline for head, body in headers]
    envelope = load(b"".join(pieces) + b"--b--" + newline, "multipart/related; boundary=b")
    assert [part.body for part in envelope.parts] == [picture, picture]


@pytest.mark.parametrize("body", [b"QUJDR", b"Q===", b"Q" * 5 + b"="])
def test_base64_that_is_cut_off(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="base64"):
        entity("Content-Transfer-Encoding: base64", body)


@pytest.mark.parametrize(
    ("headers", "content_id", "location", "name"),
    [
        ("Content-ID: <a.gif>", "a.gif", None, None),
        ("Content-ID:a.gif", "a.gif", None, None),
        ("content-id: < a.gif >\nContent-Location: x/a.gif ", "a.gif", "x/a.gif", None),
        ('Content-ID: "<a.gif>', "a.gif", None, None),
        ('Content-ID: "<a.gif>"', "a.gif", None, None),
        ('Content-ID: "a.gif', "a.gif", None, None),
        ('Content-ID: <a.gif>"', "a.gif", None, None),
        ("Content-ID: cid:a.gif", "a.gif", None, None),
        ('Content-ID: "CID: a.gif"', "a.gif", None, None),
        ("Content-ID: cid:<a.gif>", "a.gif", None, None),
        ("Content-ID: <cid:a.gif>", "a.gif", None, None),
        ("Content-ID: <acid:1@x>", "acid:1@x", None, None),
        ('Content-ID: <"a b"@x.example>', '"a b"@x.example', None, None),
        ('Content-ID: "', None, None, None),
        ("Content-ID: cid:", None, None, None),
        ("Content-ID: <>\nContent-Location:", None, None, None),
        ("Content-ID: <a.gif> (a picture)", "a.gif", None, None),
        ("Content-ID: <a>\nContent-ID: <b>", "a", None, None),
        ('Content-Type: image/gif; name="a b.gif"', None, None, "a b.gif"),
        ("Content-Type: image/gif; name=a.gif", None, None, "a.gif"),
        ("Content-Disposition: attachment; filename=a.gif", None, None, "a.gif"),
        ("Content-Type: image/gif; name=\nContent-Disposition: inline; filename=a.gif", None, None, "a.gif"),
        ("Content-Type: image/gif;\n\tname=a.gif", None, None, "a.gif"),
        ('Content-Type: image/gif; name="=?utf-8?B?R3LDvMOfZS5naWY=?="', None, None, "Grüße.gif"),
        ('Content-Type: image/gif; name="=?x-no?B?R3I=?="', None, None, "=?x-no?B?R3I=?="),
        ("Content-Type: image/gif; name*=utf-8''Gr%C3%BC%C3%9Fe.gif", None, None, "Grüße.gif"),
        ("Content-Type: image/gif; name*=x-no'de'a%20b", None, None, "a b"),
        ("Content-Type: image/gif; name*=a%20b", None, None, "a b"),
        ('Content-Type: image/gif; name*1="b.gif";\n name*0="a "', None, None, "a b.gif"),
        ("Content-Type: image/gif; name*0*=utf-8''Gr%C3%BC; name*1=%41; name*2*=%C3%9Fe", None, None, "Grü%41ße"),
        ("Content-Disposition: inline; filename*0=a; filename*1=.gif", None, None, "a.gif"),
        ("Content-Type: image/gif; name=a.gif; name*0=b; name*x=c", None, None, "a.gif"),
        ('Content-Type: image/gif; name="a\\"b', None, None, 'a"b'),
        ("Content-Location: Grüße.gif", None, "Grüße.gif", None),
    ],
)
def test_names_of_parts(headers: str, content_id: str | None, location: str | None, name: str | None) -> None:
    part = entity(headers, b"x")
    assert (part.content_id, part.content_location, part.name) == (content_id, location, name)


def test_a_part_of_headers_alone_is_empty() -> None:
    body = f"--b\n\n{XML}\n--b\nContent-ID: <a>\n--b--".encode()
    (part,) = load(body, "multipart/related; boundary=b").parts
    assert (part.content_id, part.body) == ("a", b"")


def test_headers_in_latin_1() -> None:
    body = f"--b\n\n{XML}\n--b\nContent-Location: Gr\xfc\xdfe\n\nx\n--b--".encode("latin-1")
    assert load(body, "multipart/related; boundary=b").parts[0].content_location == "Grüße"


def test_comments_say_nothing_of_a_type() -> None:
    body = f"--b\n\n{XML}\n--b\nContent-Type: Image/GIF (Saturn); name=a.gif\n\nGIF\n--b--".encode()
    (part,) = describe(load(body, "Multipart/Related (media); boundary=b"))["parts"]
    assert part["content_type"] == "image/gif"
    text = soap("<DeliverReq><Subject>天气</Subject></DeliverReq>").encode("gb18030")
    assert message(text, "text/xml (SOAP); charset=GB2312 (simplified)").subject == "天气"


def test_a_part_without_a_type_is_text() -> None:
    assert entity("Content-ID: <a>", b"x").content_type == "text/plain; charset=us-ascii"


@pytest.mark.parametrize("kind", ["mixed", "related; type=application/smil; start=<s>", "alternative"])
@pytest.mark.parametrize("close", ["\n--i--", ""])
def test_inner_multiparts(kind: str, close: str) -> None:
    body = (
        f"--b\nContent-Type: text/xml\n\n{XML}\n--b\nContent-Type: multipart/{kind}; boundary=i\nContent-ID: <c>\n\n"
        f"--i\nContent-Type: image/gif\n\nGIF\n--i\n"
        f"Content-Type: application/smil\nContent-ID: <s>\n\n<smil/>{close}\n--b--"
    )
    envelope = load(body.encode(), "multipart/related; boundary=b")
    assert [part.body for part in envelope.parts] == [b"GIF", b"<smil/>"]


def test_an_inner_multipart_that_ends_with_an_open_delimiter() -> None:
    body = f"--b\n\n{XML}\n--b\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\nx\n--i\n \n--b--"
    assert [part.body for part in load(body.encode(), "multipart/related; boundary=b").parts] == [b"x"]


WAP = "Content-Type: application/vnd.wap.multipart."


@pytest.mark.parametrize(
    "kind", ["mixed; boundary=i", 'Related; type="application/smil"; Boundary="i"', "alternative;boundary=--i"]
)
@pytest.mark.parametrize("close", ["\n--i--", ""])
def test_inner_multiparts_under_the_name_of_wsp(kind: str, close: str) -> None:
    inner = f"--i\nContent-Type: image/gif\nContent-ID: <g>\n\nGIF\n--i\nContent-Type: text/plain\n\nscience{close}"
    body = f"--b\nContent-Type: text/xml\n\n{XML}\n--b\n{WAP}{kind}\nContent-ID: <c>\n\n{inner}\n--b--"
    envelope = load(body.encode(), "multipart/related; boundary=b")
    assert [(part.content_id, part.body) for part in envelope.parts] == [("g", b"GIF"), (None, b"science")]


@pytest.mark.parametrize(
    "headers",
    [
        f"{WAP}mixed",
        f"{WAP}related; boundary=",
        f"{WAP}related; boundary=j",
        f"{WAP}form-data; boundary=i",
        "Content-Type: application/octet-stream; boundary=i",
    ],
)
def test_what_wsp_wrote_in_binary_stays_a_leaf(headers: str) -> None:
    binary = b"\x02\x0a\x03\x9e\x85--i\0GIF\n--ii\n--i\n"
    assert entity(headers, binary).body == binary


def test_a_multipart_of_nothing_has_no_leaves() -> None:
    body = f"--b\n\n{XML}\n--b\n{WAP}mixed; boundary=i\n\n--i--\n--b--"
    assert load(body.encode(), "multipart/related; boundary=b").parts == ()


def test_the_media_may_be_attached_directly_and_smil_may_come_first() -> None:
    body = f"--b\nContent-Type: application/smil\n\n<smil/>\n--b\nContent-Type: text/xml\n\n{XML}\n--b--"
    envelope = load(body.encode(), "multipart/related; boundary=b")
    assert envelope.message == EXPECTED
    assert [part.content_type for part in envelope.parts] == ["application/smil"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no delimiter",
        "--b--",
        "--b",
        "--b\n",
        f"--b\n\n{XML}",
        f"--b\n\n{XML}\n--b",
        f"--b\n\n{XML}\n--b\n",
        f"--b\n\n{XML}\n--b-",
        f"--b\n\n{XML}\n--b\n\nmedia",
        f"--b\n\n{XML}\n--b\nContent-Type: multipart/mixed; boundary=i\n\nnothing\n--b--",
        "--b\n\n--b--",
        "--b\n\nmedia\n--b--",
    ],
)
def test_multiparts_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ProtocolError):
        load(text.encode(), "multipart/related; boundary=b")
