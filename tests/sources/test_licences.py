"The spellings of licences that catalogues and people write, and what each of them is."

import pytest

from birdsort.sources.base import has_licence, name_licence, photo_key

SPELLINGS = {
    # Addresses
    'http://creativecommons.org/licenses/by/4.0/': 'cc-by-4.0',
    'https://creativecommons.org/licenses/by-sa/4.0/legalcode': 'cc-by-sa-4.0',
    'http://creativecommons.org/licenses/by-nc/4.0/legalcode.de': 'cc-by-nc-4.0',
    'https://creativecommons.org/licenses/by-sa/3.0/igo/': 'cc-by-sa-3.0',
    'https://creativecommons.org/licenses/by-nc-nd/2.5/scotland/': 'cc-by-nc-nd-2.5',
    'http://creativecommons.org/licenses/by-nd-nc/1.0/': 'cc-by-nc-nd-1.0',
    'http://creativecommons.org/publicdomain/zero/1.0/legalcode': 'cc0',
    'https://creativecommons.org/publicdomain/mark/1.0/': 'pd',
    'https://creativecommons.org/licenses/publicdomain/': 'pd',
    # Names in full, as publishers of GBIF write them
    'Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)': 'cc-by-nc-4.0',
    'Attribution 4.0 International (CC BY 4.0)': 'cc-by-4.0',
    'Attribution 4.0 International': 'cc-by-4.0',
    'Creative Commons Attribution-ShareAlike 3.0 Unported': 'cc-by-sa-3.0',
    'Creative Commons Attribution Non Commercial No Derivatives 2.0 Generic': 'cc-by-nc-nd-2.0',
    'Creative Commons Attribution-NonCommercial-NoDerivs 3.0': 'cc-by-nc-nd-3.0',
    'This work is licensed under a Creative Commons Attribution (CC-BY) 4.0 License.': 'cc-by-4.0',
    'This work is licensed under a Creative Commons Attribution Non Commercial (CC-BY-NC) 4.0 License.': 'cc-by-nc-4.0',
    'CC0 1.0 Universal (CC0 1.0) Public Domain Dedication': 'cc0',
    'Creative Commons Zero v1.0 Universal': 'cc0',
    'Public Domain (CC0 1.0)': 'cc0',
    'CC_BY_NC_4_0': 'cc-by-nc-4.0',
    'CC0_1_0': 'cc0',
    # Short names of Wikimedia Commons
    'CC BY-SA 4.0': 'cc-by-sa-4.0',
    'CC BY-SA 3.0 de': 'cc-by-sa-3.0',
    'CC BY-SA 3.0 igo': 'cc-by-sa-3.0',
    'CC BY-SA 3.0-2.5-2.0-1.0': 'cc-by-sa-3.0',
    'CC BY-SA 4.0,3.0,2.5,2.0,1.0': 'cc-by-sa-4.0',
    'CC BY 2.5 Scotland': 'cc-by-2.5',
    'CC BY 3.0 NC': 'cc-by-nc-3.0',
    'CC BY – NC 4.0': 'cc-by-nc-4.0',
    'CC0': 'cc0',
    'CC PDM 1.0': 'pd',
    'Public domain': 'pd',
    'Attribution': 'attribution',
    'GFDL': 'gfdl',
    'GFDL 1.2': 'gfdl 1.2',
    'Copyrighted free use': 'copyrighted free use',
    'FAL': 'fal',
    'CC BY-SA 3.0 or GFDL': 'cc by-sa 3.0 or gfdl',
    # Codes of iNaturalist
    'cc-by': 'cc-by',
    'cc-by-nc-sa': 'cc-by-nc-sa',
    'cc-by-nd': 'cc-by-nd',
    'cc0': 'cc0',
    'pd': 'pd',
    # The public domain
    'pdm': 'pd',
    'PDM 1.0': 'pd',
    'Public Domain Mark 1.0': 'pd',
    'CC-PD-Mark': 'pd',
    'Creative Commons Public Domain Mark 1.0': 'pd',
    'not in the public domain': 'not in the public domain',
    # No licence, and what only looks like one
    '': '',
    '  ': '',
    'All rights reserved': 'all rights reserved',
    '© Ada Lovelace': '© ada lovelace',
    'by permission of the author': 'by permission of the author',
    'by John Smith, all rights reserved': 'by john smith, all rights reserved',
    'CC-BY (non-commercial only)': 'cc-by (non-commercial only)',
    'Attribution License': 'attribution license',
    'asdf 4.0': 'asdf 4.0',
    '0': '0',
    # Contradictions
    'CC BY-ND-SA 4.0': 'cc by-nd-sa 4.0',
    'http://creativecommons.org/licenses/by-nd-sa/4.0/': 'http://creativecommons.org/licenses/by-nd-sa/4.0/',
    'Attribution 4.0 International (CC BY-NC 4.0)': 'attribution 4.0 international (cc by-nc 4.0)',
    'CC BY 4.0 (CC BY 3.0)': 'cc by 4.0 (cc by 3.0)',
}


def test_there_are_spellings_enough():
    assert len(SPELLINGS) >= 40


@pytest.mark.parametrize('text', SPELLINGS)
def test_a_spelling(text):
    assert name_licence(text) == SPELLINGS[text]
    assert name_licence(f' {text.upper()} ') == SPELLINGS[text]


@pytest.mark.parametrize('text', SPELLINGS)
def test_a_name_is_its_own_name(text):
    assert name_licence(SPELLINGS[text]) == SPELLINGS[text]


# As Openverse writes it: a code, and the version beside it
CODES = {
    ('by', '2.0'): 'cc-by-2.0',
    ('by-nc-sa', '4.0'): 'cc-by-nc-sa-4.0',
    ('by-nd', ''): 'cc-by-nd',
    ('cc0', '1.0'): 'cc0',
    ('pdm', '1.0'): 'pd',
    ('sampling+', '1.0'): 'sampling+',
    ('CC BY 4.0', '2.0'): 'cc-by-4.0',
    (None, ''): '',
}


@pytest.mark.parametrize('code,version', CODES)
def test_a_code_with_its_version(code, version):
    assert name_licence(code, version) == CODES[code, version]


@pytest.mark.parametrize(
    'text,fits', [('CC BY-SA 3.0 igo', False), ('CC BY 3.0 igo', True), ('Attribution', False)]
)
def test_what_somebody_who_wants_cc_by_gets(text, fits):
    assert has_licence(name_licence(text), ('cc-by',)) is fits


ADDRESSES = [
    'https://upload.wikimedia.org/wikipedia/commons/a/ab/Heron_(1).jpg',
    'https://upload.wikimedia.org/wikipedia/commons/a/ab/Heron_%281%29.jpg?download',
    'https://upload.wikimedia.org/wikipedia/commons/thumb/a/ab/Heron_%281%29.jpg/1024px-Heron_%281%29.jpg',
    'https://thumb.wikimedia.org/wikipedia/commons/thumb/a/ab/Heron_(1).jpg/960px-Heron_(1).jpg',
    'https://thumb.wikimedia.org/wikipedia/commons/thumb/a/ab/Heron_%281%29.jpg/20px-Heron_%281%29.jpg?utm_source=a',
    'http://thumb.wikimedia.org/wikipedia/commons/thumb/a/ab/Heron_%281%29.jpg/lossy-page1-3840px-x.jpg',
]


def test_one_photo_of_commons_has_one_key():
    assert {photo_key(address) for address in ADDRESSES} == {'commons:Heron_(1).jpg'}
    assert photo_key(ADDRESSES[0].replace('(1)', '(2)')) == 'commons:Heron_(2).jpg'
    elsewhere = 'https://thumb.wikimedia.org/wikipedia/en/thumb/a/ab/Heron.jpg/960px-Heron.jpg'
    assert photo_key(elsewhere) == elsewhere
