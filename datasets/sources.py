"""The data sets that can be fetched: addresses, sizes, terms and the checksums that are publicly known."""

from dataclasses import dataclass

PIX2PIX = "http://efrosgans.eecs.berkeley.edu/pix2pix/datasets/"
CYCLEGAN = "http://efrosgans.eecs.berkeley.edu/cyclegan/datasets/"
CYCLEGAN_HOME = "https://junyanz.github.io/CycleGAN/"
MNIST = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
FASHION_MNIST = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)

IMAGENET = "photos from ImageNet: non-commercial research"
FLICKR = "photos from Flickr: their owners' rights"
PAINTINGS = "paintings from WikiArt, photos from Flickr: their owners' rights"
GOOGLE_MAPS = "scraped from Google Maps: Google's terms"
CMP_FACADES = "CMP Facade Database: CC BY-SA"


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: its addresses in the order to try, and its checksum as `md5:...` or `sha256:...`."""

    urls: tuple[str, ...]
    checksum: str | None = None

    @property
    def name(self) -> str:
        """What the file is called at its first address."""
        return self.urls[0].rpartition("/")[2]


@dataclass(frozen=True)
class Source:
    """A data set: what it holds, the size of its files, its terms, its home page; no files: it is not offered."""

    about: str
    size: str
    terms: str
    home: str
    files: tuple[RemoteFile, ...] = ()


def archive(url: str, checksum: str | None = None) -> tuple[RemoteFile, ...]:
    """The files of a data set that is one archive."""
    return (RemoteFile((url,), checksum),)


def idx_files(mirrors: tuple[str, ...], *md5: str) -> tuple[RemoteFile, ...]:
    """The four files of a data set in the format of MNIST, on each of the mirrors."""
    names = [f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return tuple(
        RemoteFile(tuple(mirror + name for mirror in mirrors), f"md5:{digest}")
        for name, digest in zip(names, md5, strict=True)
    )


SOURCES: dict[str, Source] = {
    "facades": Source(
        "paired: facade | labels",
        "29 MB",
        CMP_FACADES,
        "http://cmp.felk.cvut.cz/~tylecr1/facade/",
        archive(PIX2PIX + "facades.tar.gz", "md5:e2e25dd517e9d15828416ab329da2854"),
    ),
    "maps": Source(
        "paired: aerial photo | map",
        "239 MB",
        GOOGLE_MAPS,
        "https://phillipi.github.io/pix2pix/",
        archive(PIX2PIX + "maps.tar.gz", "md5:e5f65d26eb288457f5ac056deb94d154"),
    ),
    "edges2shoes": Source(
        "paired: edges | shoe",
        "2.0 GB",
        "UT Zappos50K: academic, non-commercial use",
        "http://vision.cs.utexas.edu/projects/finegrained/utzap50k",
        archive(PIX2PIX + "edges2shoes.tar.gz", "md5:71da478b54fedde126e234a2a050bc15"),
    ),
    "edges2handbags": Source(
        "paired: edges | handbag",
        "8.0 GB",
        "product photos from Amazon, through iGAN: their owners' rights",
        "https://github.com/junyanz/iGAN",
        archive(PIX2PIX + "edges2handbags.tar.gz", "md5:815592f22fa7f7534a286a25bb73bf03"),
    ),
    "night2day": Source(
        "paired: night | day",
        "1.9 GB",
        "Transient Attributes (Laffont et al. 2014): no licence stated",
        "http://transattr.cs.brown.edu/",
        archive(PIX2PIX + "night2day.tar.gz"),
    ),
    "cityscapes": Source(
        "paired: street photo | labels",
        "not offered",
        "its licence forbids passing it on: register at the home page",
        "https://www.cityscapes-dataset.com/",
    ),
    "apple2orange": Source(
        "unpaired: apples, oranges",
        "75 MB",
        IMAGENET,
        CYCLEGAN_HOME,
        archive(
            CYCLEGAN + "apple2orange.zip", "sha256:845a191e9af8926408ea597001cd03a452e3300a1f44a79fe329b3d59f6e3eb8"
        ),
    ),
    "summer2winter_yosemite": Source(
        "unpaired: Yosemite in summer, in winter",
        "126 MB",
        FLICKR,
        CYCLEGAN_HOME,
        archive(
            CYCLEGAN + "summer2winter_yosemite.zip",
            "sha256:167fe1726807a9d22bd106b4a6c0bd7953b688af924ac1bf967439c4961e49f9",
        ),
    ),
    "horse2zebra": Source(
        "unpaired: horses, zebras",
        "111 MB",
        IMAGENET,
        CYCLEGAN_HOME,
        archive(
            CYCLEGAN + "horse2zebra.zip", "sha256:a74d9d392eecca9966b51287a76ca126af473d9de4f3e8fc0e9cda08fa1730a1"
        ),
    ),
    "monet2photo": Source(
        "unpaired: Monet, landscape photos",
        "291 MB",
        PAINTINGS,
        CYCLEGAN_HOME,
        archive(
            CYCLEGAN + "monet2photo.zip", "sha256:88f91b00fc228f97c9411fbf1880ec1d119c98f1722e4cfcfaa2fb35fac05b04"
        ),
    ),
    "cezanne2photo": Source(
        "unpaired: Cezanne, landscape photos",
        "267 MB",
        PAINTINGS,
        CYCLEGAN_HOME,
        archive(
            CYCLEGAN + "cezanne2photo.zip", "sha256:3a6c10ca21f9485862f1cbd707744b9dc258954a04631271d23a3605eeb63cff"
        ),
    ),
    "ukiyoe2photo": Source(
        "unpaired: ukiyo-e, landscape photos",
        "279 MB",
        PAINTINGS,
        CYCLEGAN_HOME,
        archive(
            CYCLEGAN + "ukiyoe2photo.zip", "sha256:02a2a2fb5ecf425ca1bf86aca7304377da64a2a1d3b86df54eb65e4068bf3b08"
        ),
    ),
    "vangogh2photo": Source(
        "unpaired: van Gogh, landscape photos",
        "292 MB",
        PAINTINGS,
        CYCLEGAN_HOME,
        archive(
            CYCLEGAN + "vangogh2photo.zip", "sha256:362c3473e70be0944bda08d49d660eafdc2854df55d697835b8186d1d79caaff"
        ),
    ),
    "maps_unpaired": Source(
        "unpaired: aerial photos, maps",
        "1.4 GB",
        GOOGLE_MAPS,
        CYCLEGAN_HOME,
        archive(CYCLEGAN + "maps.zip", "sha256:639534f69dbf9f36bef8d6292a7698006361221f83f0285d7c9ca78afe6e8a9e"),
    ),
    "facades_unpaired": Source(
        "unpaired: facades, labels",
        "34 MB",
        CMP_FACADES,
        CYCLEGAN_HOME,
        archive(CYCLEGAN + "facades.zip", "sha256:9a31ebf3a31b9b5cd195dd5bf62e9308e00cb94604d1019e3889ac84248695c0"),
    ),
    "iphone2dslr_flower": Source(
        "unpaired: flowers by phone, by camera",
        "324 MB",
        FLICKR,
        CYCLEGAN_HOME,
        archive(
            CYCLEGAN + "iphone2dslr_flower.zip",
            "sha256:8fcb5e374d631b107e1d961b8c4cd0a186aa2a4ff3e279923f4c426128de7113",
        ),
    ),
    "ae_photos": Source(
        "photos to try the painters' styles on",
        "10 MB",
        "not stated",
        CYCLEGAN_HOME,
        archive(CYCLEGAN + "ae_photos.zip", "md5:93831625466b64eaeba58babc52d70f9"),
    ),
    "mnist": Source(
        "classes: 70,000 handwritten digits, idx files",
        "11 MB",
        "CC BY-SA 3.0",
        "http://yann.lecun.com/exdb/mnist/",
        idx_files(
            MNIST,
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    ),
    "fashion_mnist": Source(
        "classes: 70,000 pieces of clothing, idx files",
        "29 MB",
        "MIT",
        "https://github.com/zalandoresearch/fashion-mnist",
        idx_files(
            FASHION_MNIST,
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
}


def print_table() -> None:
    """Print what can be fetched: size, contents and terms, home page, addresses and checksums."""
    for name, source in SOURCES.items():
        print(f"{name:24}{source.size:>11}  {source.about}; {source.terms}; {source.home}")
        for file in source.files:
            print(f"{'':37}{file.urls[0]}  {file.checksum or 'no known checksum'}")
