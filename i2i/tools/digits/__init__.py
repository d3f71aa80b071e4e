"""Evaluate generated images of classes: `python -m i2i.evaluation.digits RUN --dataroot FOLDER`."""

from i2i.tools.digits.classifier import Classifier, classify, train_classifier
from i2i.tools.digits.classifier_file import TrainedClassifier, load_or_train_classifier
from i2i.tools.digits.judging import CurvePoint, curve, judge
from i2i.tools.digits.labelled import Labelled, Real, read_real
from i2i.tools.digits.real_data import RealData
from i2i.tools.digits.report import DigitsReport, GanTrain, Pair

__all__ = [
    "Classifier",
    "CurvePoint",
    "GanTrain",
    "Labelled",
    "Pair",
    "Real",
    "RealData",
    "DigitsReport",
    "TrainedClassifier",
    "classify",
    "curve",
    "judge",
    "load_or_train_classifier",
    "read_real",
    "train_classifier",
]
