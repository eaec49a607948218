all: layer.zip lambda.zip

publish: layer.zip
	aws lambda publish-layer-version --layer-name deps --zip-file fileb://layer.zip \
	    --compatible-runtimes python3.12 python3.13 --compatible-architectures x86_64

.PHONY: all publish

layer.zip: requirements.txt
	mkdir -p python
	pip install -q -r requirements.txt -t python --platform manylinux2014_x86_64 --only-binary=:all: --python-version 3.12
	zip -qr $@ python

lambda.zip: $(wildcard src/*.py)
	cd src; zip -q ../$@ *.py
