"The real release, where a copy lies beside the repository; its images never come into it."
from pathlib import Path

import pandas as pd
import pytest

from conftest import assert_ok

RELEASE = Path(__file__).parents[2]/'shared'/'data'/'ferplus.zip'
pytestmark = pytest.mark.skipif(not RELEASE.exists(), reason='no copy of the release beside this repository')


def test_the_release_has_the_images_and_duplicates_that_the_notebooks_report(home, fer_nb):
    said = assert_ok(fer_nb('prepare', '--source', RELEASE, home=home)).out
    assert '28,558 train / 3,579 validation / 1,779 test' in said
    assert '678 rows damaged on purpose, to score the cleaning; 678 repaired, 0 rejected' in said
    assert '1,389 pixel-identical groups' in said
    assert '223 with conflicting labels; 155 test images have a twin' in said

    raw = home/'data'/'raw'
    imported, cleaned = (pd.read_csv(raw/f'{name}.csv', dtype=str) for name in ('dataset', 'dataset_cleaned'))
    assert cleaned[imported.columns].equals(imported)          # every injected error was undone
    assert len(list(raw.glob('*.png'))) == 33_916
