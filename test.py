"""Translate images with a trained run: `python test.py --name RUN --dataroot FOLDER`; --help lists the options."""

from i2i.process import limit_spinning

if __name__ == "__main__":
    limit_spinning()  # before the first import of torch

from i2i.data.inputs import input_dataset
from i2i.process import disable_tf32, prepare_process, silence_libraries
from i2i.results import put_aside, results_folder
from i2i.translate import generate_images, translate_dataset
from i2i.translate.origin import origin_of
from options.test_options import TestOptions


def test(options: TestOptions) -> None:
    config, translator = options.test, options.translator()
    translator.inference.set_up = prepare_process
    dataset = None if options.generates else input_dataset(options.images(translator))
    if dataset is not None:
        options.check_layout(dataset)
    origin = origin_of(translator, dataset, config.truncation)
    folder, note = results_folder(options.folder, origin)
    assessment = options.assessment(translator, dataset, folder)  # what it lacks is said before the work begins
    for line in filter(None, (note, put_aside(folder, origin))):
        options.notice(line)
    if dataset is None:
        count = generate_images(translator, folder, config, options.data.batch_size)
        print(f"{count} images generated, a grid of them is {folder / 'grid.png'}")
    else:
        count = translate_dataset(translator, dataset, folder, config, options.labels)
        print(f"{count} images translated")
    print(f"pictures: {folder / 'images'}\npage: {folder / config.page}")
    if assessment is not None:
        disable_tf32()
        print(assessment(folder))


if __name__ == "__main__":
    silence_libraries()
    options = TestOptions()
    options.one_line(lambda: test(options))
