// Python objects that functions make.
#pragma once

#include "arguments.hpp"

namespace aisle {

// What owns a Python object.
struct Owned {
    PyObject* object;
    explicit Owned(PyObject* given) : object(given) {
        if (!given) throw PythonError{};
    }
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    ~Owned() { Py_XDECREF(object); }
    PyObject* given_away() {
        PyObject* given = object;
        object = nullptr;
        return given;
    }
};

// An object of a class with `__slots__` whose attributes `names` (a tuple) have these values.
inline PyObject* made_object(PyObject* kind, PyObject* names, PyObject* const* values) {
    auto* type = reinterpret_cast<PyTypeObject*>(kind);
    Owned object(type->tp_alloc(type, 0));
    // As the constructors of frozen dataclasses do it.
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); ++i)
        if (PyObject_GenericSetAttr(object.object, PyTuple_GET_ITEM(names, i), values[i]) < 0) throw PythonError{};
    return object.given_away();
}

}  // namespace aisle
