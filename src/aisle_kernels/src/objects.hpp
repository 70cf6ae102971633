// Python objects that functions make.
#pragma once

#include "arguments.hpp"

#include <structmember.h>

#include <vector>

namespace aisle {

// What owns a Python object, or nothing yet.
struct Owned {
    PyObject* object = nullptr;
    Owned() = default;
    explicit Owned(PyObject* given) : object(given) {
        if (!given) throw PythonError{};
    }
    Owned(Owned&& other) noexcept : object(other.given_away()) {}
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    Owned& operator=(Owned&& other) noexcept {
        PyObject* before = object;
        object = other.given_away();
        Py_XDECREF(before);
        return *this;
    }
    ~Owned() { Py_XDECREF(object); }

    static Owned borrowed(PyObject* lent) {
        Py_INCREF(lent);
        return Owned(lent);
    }
    PyObject* given_away() {
        PyObject* given = object;
        object = nullptr;
        return given;
    }
};

// A class with `__slots__`, and where its objects hold the attributes that are wanted.
class RecordClass {
public:
    static constexpr const char* kName = "aisle_kernels.record_class";

    // `names`: a tuple. What is neither a class nor an attribute there raises TypeError or AttributeError.
    void learn(PyObject* kind, PyObject* names) {
        if (!PyType_Check(kind) || !PyTuple_Check(names)) refuse(PyExc_TypeError, "record_class: expected a class and a tuple of names");
        type_ = reinterpret_cast<PyTypeObject*>(kind);
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); ++i) {
            const Owned attribute(PyObject_GetAttr(kind, PyTuple_GET_ITEM(names, i)));
            const auto* slot = reinterpret_cast<PyMemberDescrObject*>(attribute.object);
            // Built-in classes have such members, too, but not for others to set.
            if (!PyType_HasFeature(type_, Py_TPFLAGS_HEAPTYPE) || Py_TYPE(attribute.object) != &PyMemberDescr_Type ||
                slot->d_member->type != T_OBJECT_EX)
                refuse(PyExc_TypeError, "record_class: expected a class with __slots__");
            offsets_.push_back(slot->d_member->offset);
        }
    }

    std::size_t size() const { return offsets_.size(); }

    // An object whose attributes have these values, which it takes over; none may be missing. What the constructor of a frozen
    // dataclass gives, at a fifth of the time.
    template <typename Fields>
    PyObject* made(Fields& fields) const {
        Owned object(type_->tp_alloc(type_, 0));
        for (std::size_t i = 0; i < offsets_.size(); ++i)
            *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(object.object) + offsets_[i]) = fields[i].given_away();
        return object.given_away();
    }

private:
    PyTypeObject* type_ = nullptr;
    std::vector<Py_ssize_t> offsets_;
};

}  // namespace aisle
