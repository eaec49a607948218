all: layer.zip lambda.zip

layer.zip: requirements.txt
	mkdir -p python
	pip install -q -r requirements.txt -t python --platform manylinux2014_x86_64 --only-binary=:all: --python-version 3.12
	zip -qr $@ python

lambda.zip: $(wildcard src/*.py)
	cd src; zip -q ../$@ *.py
