"""`python -m tests.languages`: bring the catalogues up to date, and say what is to translate."""

from tests.languages.catalogues import update_all

if __name__ == "__main__":
    for language, left in update_all().items():
        print(f"{language}: {len(left)} texts to translate")
