PY ?= python3
ifeq ($(ARCH),)
ARCH := manylinux2014_aarch64
endif

lambda.zip: requirements.txt handler.py $(wildcard lib/*.py)
	rm -rf package $@ ; mkdir package
	$(PY) -m pip install -q -t package -r requirements.txt \
	    --platform $(ARCH) --python-version 3.13 --only-binary=:all:
	cp handler.py package/
	cp -r lib package/
	cp conf/prod.json package/config.json
	rm -rf package/bin package/*.dist-info
	find package -type d -name __pycache__ -exec rm -rf {} +
	@echo "made: package" || true
	(cd package && zip -qr ../$@ . -x '*.pyc')
