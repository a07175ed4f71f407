"""Constraints for pip that hold every requirement at the lowest version that settings.ini allows: run it, and give what it
prints to `pip install --constraint`."""

import re
from configparser import ConfigParser
from pathlib import Path

settings = ConfigParser(interpolation=None)
settings.read(Path(__file__).parent.parent / 'settings.ini')
for requirement in settings['DEFAULT']['requirements'].split():
    name, lowest = re.match(r'([\w.-]+)(?:.*?>=([\d.]+))?', requirement).groups()
    if lowest:
        print(f'{name}=={lowest}.*{";" + requirement.partition(";")[2] if ";" in requirement else ""}')
