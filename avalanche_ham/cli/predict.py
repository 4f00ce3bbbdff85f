"""``ham predict``: the classes of images of one's own, as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avalanche_ham.cli.parser import OneLineParser
from avalanche_ham.cli.report_options import check_file
from avalanche_ham.files import write_whole


def predict_images(words: Sequence[str]) -> int:
    """Run the command with its words; gives the exit code."""
    args = _parser().parse_args(words)
    if args.out is not None:
        check_file("out", args.out)
    from avalanche_ham.runs.predict import as_csv, predict

    predictions = predict(
        args.folder,
        args.images,
        top=args.top,
        head=args.head,
        device=args.device,
        batch_size=args.batch_size,
        show=True,
    )
    if args.out is None:
        print(as_csv(predictions), end="")
    else:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(args.out, as_csv(predictions).encode(errors="surrogateescape"))
        print(args.out)
    return 0


def _parser() -> OneLineParser:
    parser = OneLineParser(prog="ham predict", description=__doc__)
    parser.add_argument(
        "folder", type=Path, metavar="RUN", help="folder of a run, or of ham export (timm, onnx)"
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGES",
        help="files, folders, patterns such as 'photos/*.jpg'",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    parser.add_argument("--top", type=int, default=1, help="how many classes of each image")
    parser.add_argument("--head", help="one of the run's heads; default: its first")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... or mps")
    parser.add_argument("--batch-size", type=int, default=64, help="images at a time")
    return parser
