ls: cannot access 'tests/test_network.py': No such file or directory
ls: cannot access 'tests/test_convert_layout.py': No such file or directory
ls: cannot access 'tests/test_layout_rules.py': No such file or directory
ls: cannot access 'tests/test_fold_weights.py': No such file or directory
ls: cannot access 'tests/importer': No such file or directory
ls: cannot access 'tests/onnx_models.py': No such file or directory
