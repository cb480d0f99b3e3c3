from setuptools import setup

setup(name="turbo")
