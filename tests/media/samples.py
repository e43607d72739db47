"""Small valid files of every supported type, made here so that no binary is kept in the repository."""

from __future__ import annotations

import io
import struct
import wave

from PIL import Image


def image(kind: str, *, size: tuple[int, int] = (16, 12), **options: object) -> bytes:
    """A picture that Pillow writes: JPEG, PNG, GIF, BMP, TIFF, WEBP."""
    stream = io.BytesIO()
    Image.linear_gradient("L").resize(size).save(stream, kind, **options)
    return stream.getvalue()


def box(kind: bytes, body: bytes) -> bytes:
    """A box of ISO 14496-12."""
    return struct.pack(">I4s", 8 + len(body), kind) + body


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    """The box that begins MP4, 3GP, MOV and HEIC."""
    return box(b"ftyp", major + struct.pack(">I", 512) + b"".join(compatible))


def iso_media(major: bytes, *compatible: bytes) -> bytes:
    """A movie without tracks."""
    mvhd = struct.pack(">IIIII", 0, 0, 0, 1000, 1000) + bytes(80)
    return ftyp(major, *compatible) + box(b"moov", box(b"mvhd", mvhd)) + box(b"mdat", bytes(64))


def mp3_frames(count: int = 4) -> bytes:
    """Silent frames: MPEG-1 layer III, 128 kbit/s, 44.1 kHz, 417 bytes each (ISO 11172-3)."""
    return (b"\xff\xfb\x90\x64" + bytes(413)) * count


def wav() -> bytes:
    """A tenth of a second of 8 kHz PCM."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(bytes(1600))
    return stream.getvalue()


MIDI = (
    b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96)
    + b"MTrk" + struct.pack(">I", 12) + b"\x00\x90\x3c\x40\x60\x80\x3c\x00\x00\xff\x2f\x00"
)  # fmt: skip
#: Pack header, system header and a video PES (ISO 13818-1).
MPEG_PS = (
    b"\x00\x00\x01\xba\x44\x00\x04\x00\x04\x01\x01\x89\xc3\xf8" + b"\x00\x00\x01\xe0\x00\x10\x80\x00\x00" + bytes(13)
)
MPEG1_PS = b"\x00\x00\x01\xba\x21\x00\x01\x00\x01\x80\x1b\x91" + b"\x00\x00\x01\xe0\x00\x10\x0f" + bytes(15)
#: Sequence header of an elementary stream: 176x144, 25 frames a second.
MPEG_ES = b"\x00\x00\x01\xb3\x0b\x00\x90\x13\xff\xff\xe0\x18" + b"\x00\x00\x01\xb8\x00\x08\x00\x00" + bytes(32)
AVI = (
    b"RIFF"
    + struct.pack("<I", 92)
    + b"AVI LIST"
    + struct.pack("<I", 68)
    + b"hdrlavih"
    + struct.pack("<I", 56)
    + bytes(56)
    + b"idx1"
    + bytes(8)
)
AU = b".snd" + struct.pack(">IIIII", 24, 160, 1, 8000, 1) + bytes(160)
ICALENDAR = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\nEND:VCALENDAR\r\n"
VCARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ann Example\r\nEND:VCARD\r\n"
#: In the charset that its property names, with the line ends of its time.
VCARD_LATIN_1 = "BEGIN:VCARD\nVERSION:2.1\nN;CHARSET=ISO-8859-1:Müller\nEND:VCARD\n".encode("latin-1")
#: One entry: an image width of one pixel.
TIFF_MM = b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, 256, 3, 1, 1, 0, 0)
SMIL_DOCTYPE = b'<!DOCTYPE smil PUBLIC "-//W3C//DTD SMIL 2.0//EN" "http://www.w3.org/2001/SMIL20/SMIL20.dtd">'
SMIL = b"<smil><head/><body><par/></body></smil>"

#: (what, file name, bytes, registered type): the vendor's table, and the neighbours that are easily confused with it.
SUPPORTED: tuple[tuple[str, str, bytes, str], ...] = (
    ("jpeg", "a.jpg", image("JPEG"), "image/jpeg"),
    (
        "jpeg-exif",
        "a.jpeg",
        image("JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
        "image/jpeg",
    ),
    ("bmp", "a.bmp", image("BMP"), "image/bmp"),
    ("gif87a", "a.gif", b"GIF87a" + image("GIF")[6:], "image/gif"),
    ("gif89a", "a.gif", b"GIF89a" + image("GIF")[6:], "image/gif"),
    ("png", "a.png", image("PNG"), "image/png"),
    ("tiff-ii", "a.tif", image("TIFF"), "image/tiff"),
    (
        "tiff-mm",
        "a.tiff",
        b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x00\x00\x03\x00\x00\x00\x01\x00\x01\x00\x00" + bytes(8),
        "image/tiff",
    ),
    ("tiff-ii-header", "a.tif", b"II*\x00\x08\x00\x00\x00", "image/tiff"),
    ("tiff-mm-header", "a.tif", b"MM\x00*\x00\x00\x00\x08", "image/tiff"),
    ("heic", "a.heic", ftyp(b"heic", b"mif1", b"heic") + box(b"meta", bytes(40)), "image/heic"),
    ("heic-mif1", "a.heic", ftyp(b"mif1", b"mif1", b"heic", b"miaf") + box(b"meta", bytes(40)), "image/heic"),
    ("heic-msf1", "a.heic", ftyp(b"msf1", b"msf1", b"heic"), "image/heic"),
    ("heix", "a.heic", ftyp(b"heix", b"mif1", b"heix") + box(b"meta", bytes(40)), "image/heic"),
    ("amr", "a.amr", b"#!AMR\n" + (b"\x3c" + bytes(31)) * 10, "audio/amr"),
    ("amr-empty", "a.amr", b"#!AMR\n", "audio/amr"),
    ("amr-wb", "a.awb", b"#!AMR-WB\n" + (b"\x44" + bytes(60)) * 10, "audio/amr-wb"),
    ("mp3-id3", "a.mp3", b"ID3\x03\x00\x00\x00\x00\x00\x0aTIT2\x00\x00\x00\x00\x00\x00" + mp3_frames(), "audio/mpeg"),
    ("mp3-bare", "a.mp3", mp3_frames(), "audio/mpeg"),
    ("mp3-mpeg2", "a.mp3", (b"\xff\xf3\x40\xc4" + bytes(100)) * 5, "audio/mpeg"),
    ("mp3-crc", "a.mp3", (b"\xff\xfa\x90\x64" + bytes(413)) * 4, "audio/mpeg"),
    ("midi", "a.mid", MIDI, "audio/midi"),
    ("wav", "a.wav", wav(), "audio/wav"),
    ("au", "a.au", AU, "audio/basic"),
    ("mpeg2-ps", "a.mpg", MPEG_PS, "video/mpeg"),
    ("mpeg1-ps", "a.mpg", MPEG1_PS, "video/mpeg"),
    ("mpeg-es", "a.mpeg", MPEG_ES, "video/mpeg"),
    ("mp4-isom", "a.mp4", iso_media(b"isom", b"isom", b"iso2", b"avc1", b"mp41"), "video/mp4"),
    ("mp4-mp42", "a.mp4", iso_media(b"mp42", b"mp42", b"isom"), "video/mp4"),
    ("mp4-iso5", "a.mp4", iso_media(b"iso5", b"iso5", b"dash"), "video/mp4"),
    ("mp4-m4v", "a.m4v", iso_media(b"M4V ", b"M4V ", b"mp42"), "video/mp4"),
    ("mp4-msnv", "a.mp4", iso_media(b"MSNV", b"MSNV", b"mp42"), "video/mp4"),
    ("m4a", "a.m4a", iso_media(b"M4A ", b"M4A ", b"mp42"), "audio/mp4"),
    ("3gp4", "a.3gp", iso_media(b"3gp4", b"isom", b"3gp4"), "video/3gpp"),
    ("3gp5", "a.3gp", iso_media(b"3gp5", b"3gp5", b"isom"), "video/3gpp"),
    ("3gp-profile", "a.3gp", ftyp(b"3ge6", b"3ge6"), "video/3gpp"),
    ("3gp-isom", "a.3gp", iso_media(b"isom", b"isom", b"3gp4"), "video/3gpp"),
    ("avi", "a.avi", AVI, "video/x-msvideo"),
    ("mov", "a.mov", iso_media(b"qt  ", b"qt  "), "video/quicktime"),
    ("mov-old", "a.mov", box(b"wide", b"") + box(b"mdat", bytes(64)) + box(b"moov", bytes(32)), "video/quicktime"),
    ("mov-moov", "a.mov", box(b"moov", box(b"mvhd", bytes(100))) + box(b"mdat", bytes(64)), "video/quicktime"),
    ("text", "a.txt", b"Science news, new Saturn pictures...\n", "text/plain"),
    ("text-utf8", "a.txt", "Tēnā koe, 土星".encode(), "text/plain"),
    ("text-heart", "", b"<3 you", "text/plain"),
    ("ics", "a.ics", ICALENDAR, "text/calendar"),
    ("vcf", "a.vcf", VCARD, "text/vcard"),
    ("vcf-bom", "a.vcf", b"\xef\xbb\xbf" + VCARD, "text/vcard"),
    ("vcf-latin-1", "a.vcf", VCARD_LATIN_1, "text/vcard"),
    ("smil", "a.smil", SMIL, "application/smil"),
    ("smil-doctype", "a.smi", b'<?xml version="1.0"?>\n' + SMIL_DOCTYPE + b"\n" + SMIL, "application/smil"),
)

#: (what, file name, bytes): refused, whatever their names promise.
REFUSED: tuple[tuple[str, str, bytes], ...] = (
    ("html-as-jpg", "a.jpg", b"<!DOCTYPE html>\n<html><body>Not Found</body></html>"),
    ("html-no-doctype", "a.gif", b"\n\n  <HTML><HEAD><TITLE>403</TITLE></HEAD></HTML>"),
    ("html-as-txt", "a.txt", b"<!-- x --><html></html>"),
    ("text-as-jpg", "a.jpg", b"Access denied"),
    ("xml-as-png", "a.png", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
    ("svg", "a.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    ("webp", "a.webp", image("WEBP")),
    ("avif", "a.heic", ftyp(b"avif", b"mif1", b"avif") + box(b"meta", bytes(40))),
    ("avif-mif1", "a.heic", ftyp(b"mif1", b"mif1", b"avif", b"miaf") + box(b"meta", bytes(40))),
    ("pdf", "a.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
    ("zip", "a.jpg", b"PK\x03\x04" + bytes(26)),
    ("ogg", "a.mp3", b"OggS\x00\x02" + bytes(40)),
    ("flac", "a.wav", b"fLaC\x00\x00\x00\x22" + bytes(34)),
    ("adts", "a.mp3", (b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(10)) * 4),
    ("elf", "a.amr", b"\x7fELF\x02\x01\x01" + bytes(57)),
    ("two-letters-mp3", "a.mp3", b"\xff\xfb" + b"\xf0\x64" + b"noise" * 100),
    ("layer-ii", "a.mp3", b"\xff\xfd\x90\x64" + bytes(400)),
    ("two-letters-bm", "a.bmp", b"BM" + b"\x00\xffgarbage" * 10),
    ("latin-1", "a.txt", "Grüße".encode("latin-1")),
    ("latin-1-vcard-3", "a.vcf", VCARD_LATIN_1.replace(b"2.1", b"3.0")),
    ("control-characters-vcard", "a.vcf", VCARD_LATIN_1 + b"\0"),
    ("utf-16", "a.txt", "Hello".encode("utf-16")),
    ("control-characters", "a.txt", b"abc\x00\x01\x02def"),
    ("noise", "a.jpg", bytes(range(128, 256)) * 3),
    ("short-riff", "a.wav", b"RIFF\x00\x00\x00\x00WAV"),
    ("avif-msf1", "a.heic", ftyp(b"msf1", b"msf1", b"avis")),
    ("text-as-mov", "a.mov", b"The moov is on a hill"),
    ("3g2", "a.3gp", ftyp(b"3g2a")),
)

#: (what, file name, bytes that tell too little by themselves, registered type): taken under this name.
TAKEN_BY_NAME: tuple[tuple[str, str, bytes, str], ...] = (
    ("mp3-header", "a.mp3", b"\xff\xfb\x90\x00" + bytes(64), "audio/mpeg"),
    ("mp3-one-frame", "a.mp3", b"\xff\xfb\x90\x64" + b"noise" * 100, "audio/mpeg"),
    ("mp3-free-format", "a.mp3", b"\xff\xfb\x00\x00" + bytes(64), "audio/mpeg"),
    ("bmp-header", "a.bmp", b"BM" + struct.pack("<IHHI", 58, 0, 0, 54), "image/bmp"),
    ("bmp-zeros", "a.bmp", b"BM" + bytes(64), "image/bmp"),
    ("au-short", "a.au", b".snd\x00\x00\x00\x18", "audio/basic"),
    ("heif-no-codec", "a.heic", ftyp(b"mif1", b"mif1"), "image/heic"),
    ("heif-sequence", "a.heif", ftyp(b"msf1", b"msf1", b"hevc"), "image/heic"),
    ("mov-cut", "a.mov", b"\x00\x00\x01\x00moov", "video/quicktime"),
)
